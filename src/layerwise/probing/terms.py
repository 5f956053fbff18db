"""The terms of a text for the bag of words: its words, and in scripts without spaces characters and pairs of them."""

import itertools
import unicodedata

from layerwise.word_split import split_terms, split_words


def terms(text: str) -> list[str]:
    """Return the terms of a text, in lower case and in composed form (NFC).

    They are the words of `word_split`, with the marks that belong to their letters. In scripts that put no spaces
    between words (Chinese, Japanese, Thai, Lao, Khmer, Myanmar) they are the characters with their marks, and each
    pair of neighbours.

    >>> terms("Room 3天, नमस्ते")
    ['room', '3', '天', ',', 'नमस्ते']
    >>> terms("不错")
    ['不', '错', '不错']
    """
    normal = unicodedata.normalize("NFC", text.lower())
    out, pairs = [], []
    last_start, last_end = 0, -1
    for start, end, is_letter in split_terms(normal):
        out.append(normal[start:end])
        if is_letter:
            if last_end == start:
                pairs.append(normal[last_start:end])
            last_start, last_end = start, end
    return out + pairs


def letter_terms(text: str) -> list[str]:
    """Return the terms of a sequence of residues or bases: its letters, and each pair of neighbours.

    Their shares are the amino-acid and the dipeptide composition of a protein.

    >>> letter_terms("MKT")
    ['M', 'K', 'T', 'MK', 'KT']
    """
    letters = [text[start:end] for start, end in split_words(text, "chars")]
    return letters + ["".join(pair) for pair in itertools.pairwise(letters)]
