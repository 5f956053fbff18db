"""Rebuild the tokenizer of ESM, which is written in Python and gives no offsets, as one of the `tokenizers` library.

Proteins and DNA: each entry of `vocab.txt` is found anywhere in a text, the longest first from the left (residues of
ESM-2, k-mers of the Nucleotide Transformer). What stands between entries is divided at blanks, and each part is one
unknown token. Source: `EsmTokenizer` and `Trie` of transformers.
"""

import json
from typing import Any

# What `str.split` of Python divides at; the class of blanks of the `tokenizers` library is another one.
_BLANKS = "[\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
_SAMPLE = 2000  # characters of a text made of a vocabulary


def rebuilt_description(tokenizer: Any) -> str:
    """Return the description of the same tokenizer for the `tokenizers` library, as JSON.

    Args:
        tokenizer: an `EsmTokenizer` of transformers.
    """
    vocabulary = {token: number for token, number in tokenizer.get_vocab().items() if token}
    unknown = tokenizer.unk_token
    prefix, suffix = _frame(tokenizer)
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                _added(token, number, special=token in tokenizer.all_special_tokens)
                for token, number in sorted(vocabulary.items(), key=lambda entry: entry[1])
            ],
            "normalizer": None,
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": _BLANKS},
                "behavior": "Removed",
                "invert": False,
            },
            "post_processor": _template(prefix, suffix, tokenizer),
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": unknown},
        }
    )


def texts_to_compare(tokenizer: Any) -> list[str]:
    """Return texts on which a rebuilt tokenizer must give the numbers of the original.

    They hold every entry, entries one after the other in another order, unknown letters, lower case, blanks of all
    kinds, and special tokens.
    """
    entries = [token for token in tokenizer.get_vocab() if token]
    letters = [token for token in entries if len(token) == 1] or ["A"]
    # A sequence without a short period: steps through the letters that grow.
    mixed = "".join(letters[number * (number + 1) // 2 % len(letters)] for number in range(_SAMPLE))
    every = "".join(entries)[:_SAMPLE]
    return [
        *("", " ", "a", mixed, every, every[::-1], mixed.lower(), " ".join(entries)[:_SAMPLE]),
        f"{mixed[:20]}jj*{mixed[20:40]}ab {mixed[40:50]}é\u4e2d",
        f" {mixed[:5]}\t{mixed[5:9]}\n\x1d{mixed[9:12]}\u3000??\x1f!!\xa0!!\x85!!\u2028!!",
        *(f"{mixed[:7]}{token}{mixed[7:9]} {token} {token}" for token in tokenizer.all_special_tokens),
    ]


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the numbers of the special tokens before and after each text."""
    inside = -1  # the number of no token
    numbers = tokenizer.build_inputs_with_special_tokens([inside])
    place = numbers.index(inside)
    return numbers[:place], numbers[place + 1 :]


def _template(prefix: list[int], suffix: list[int], tokenizer: Any) -> dict[str, Any]:
    names = {number: tokenizer.convert_ids_to_tokens(number) for number in {*prefix, *suffix}}
    sequence = [{"Sequence": {"id": "A", "type_id": 0}}]
    before, after = (
        [{"SpecialToken": {"id": names[number], "type_id": 0}} for number in part]
        for part in (prefix, suffix)
    )
    return {
        "type": "TemplateProcessing",
        "single": [*before, *sequence, *after],
        "pair": [*before, *sequence, *after, {"Sequence": {"id": "B", "type_id": 0}}, *after],
        "special_tokens": {
            name: {"id": name, "ids": [number], "tokens": [name]} for number, name in names.items()
        },
    }


def _added(token: str, number: int, *, special: bool) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **plain, "special": special}
