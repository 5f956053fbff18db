"""The catalogue of sentences, in every language, and messages from it."""

import copy
import json
import pickle
import re
from collections import Counter

import pytest

from layerwise.choices import LANGS
from layerwise.wording import Message, catalogue, in_language, messages_json, name_of, text_in

PLURAL = re.compile(r"\.one$")
NUMBER_FORMS = re.compile(r"\{(\w+):([^{}|]*)\|([^{}|]*)\}")
# Placeholders that are no counts: shares, numbers with decimals, names, and counts of at least 2.
NO_COUNTS = {
    "share",
    "score",
    "data",
    "layer",
    "column",
    "option",
    "metric",
    "source",
    "low",
    "high",
    "differing",
    "wanted",
    "times",
    "least",
    "most",
    "need",
    "size",
}


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w*)\}", text))


def test_the_languages_have_the_same_keys_in_the_same_order() -> None:
    english, chinese = catalogue("en"), catalogue("zh")
    assert list(english) == list(chinese), set(english) ^ set(chinese)


def test_no_key_is_twice_in_a_catalogue() -> None:
    from importlib import resources

    for lang in LANGS:
        file = resources.files("layerwise") / "languages" / f"{lang}.json"
        pairs = json.loads(file.read_text("utf-8"), object_pairs_hook=lambda pairs: pairs)
        twice = [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]
        assert not twice, f"{lang}.json has {twice} more than once"


def test_a_text_has_the_same_placeholders_in_all_languages() -> None:
    for key in catalogue("en"):
        texts = {lang: catalogue(lang)[key] for lang in LANGS}
        names = {lang: placeholders(text) for lang, text in texts.items()}
        if PLURAL.search(key):
            several = placeholders(catalogue("en")[PLURAL.sub("", key)])
            assert all(used <= several for used in names.values()), f"{key} has a placeholder of its own"
            names = {lang: used - {"n"} for lang, used in names.items()}
        assert len(set(map(frozenset, names.values()))) == 1, f"{key}: {names}"
        for lang, text in texts.items():
            assert text.strip() or key == "sentences", f"{key} is empty in {lang}"
            assert not re.search(r"[{}]", re.sub(r"\{\w+\}", "", NUMBER_FORMS.sub("", text))), (
                f"{key} has a broken placeholder in {lang}"
            )


def test_a_noun_has_the_number_of_its_count() -> None:
    """No sentence says "1 rows": where a count stands before a plural, the singular is there too."""
    english = catalogue("en")
    plurals = {forms[2] for text in english.values() for forms in NUMBER_FORMS.findall(text)}
    assert {"rows", "texts", "tokens", "blocks"} <= plurals
    for key, text in english.items():
        for name, noun in re.findall(r"\{(\w+)\}(?: (?!of\b)[a-z]+)? ([a-z]+s)\b", text):
            is_alone = noun not in plurals or name in NO_COUNTS or (name == "n" and f"{key}.one" in english)
            assert is_alone, (
                f"{key}: {{{name}}} may be 1, and {noun} is a plural; write {{{name}:one|several}}"
            )
        assert all(name in placeholders(text) for name, _, _ in NUMBER_FORMS.findall(text)), key
    assert not any(NUMBER_FORMS.search(text) for text in catalogue("zh").values()), "Chinese has no plural"


def test_a_word_follows_the_number_of_a_value() -> None:
    assert Message("note.leakage.few", column="'a'", values=1, n=2).startswith(
        "Column 'a' has 1 value in 2 texts"
    )
    assert Message("note.leakage.few", column="'a'", values=1000, n=1).startswith(
        "Column 'a' has 1,000 values in 1 text:"
    )
    assert Message("design.folds", repeats="1", folds="5", inner="1").endswith("chosen on 1 inner fold")
    assert Message("blocks", n=1) == "1 block"
    assert Message("blocks", n=1).in_language("zh") == Message("blocks", n=2).in_language("zh").replace(
        "2", "1"
    )
    assert Message("texts.n", n="{n:x|y}") == "{n:x|y} texts", "a value is no template"


def test_chinese_texts_have_chinese_punctuation() -> None:
    """Half-width marks stay within numbers, code and Latin names."""
    for key, text in catalogue("zh").items():
        assert not re.search(r"[\u4e00-\u9fff][,;:?!]|[,;?!][\u4e00-\u9fff]", text), f"{key}: {text}"


def test_a_message_is_a_string_in_english_and_speaks_other_languages() -> None:
    message = Message("tokens.cut", n=64, of=12345)
    assert message == "The first 64 of 12,345 tokens."
    assert message.in_language("zh") == "12,345 个词元中的前 64 个。"
    assert text_in(message, "zh") == message.in_language("zh")
    assert text_in("a name", "zh") == "a name"
    assert Message("texts.n", n=1) == "1 text"
    assert Message("texts.n", n=2) == "2 texts"
    majority = name_of("baseline", "majority")
    within = Message(
        "advise.words.only",
        majority=majority,
        metric=name_of("metric", "accuracy"),
        words="0.812",
        lead="0.1",
    )
    assert within.in_language("zh").endswith("准确率为 0.812，高 0.1。因此请用词袋，它不需要模型。")
    assert name_of("metric", "own_score") == "own score"


def test_values_are_never_templates() -> None:
    assert Message("text.n", n="{n} {x}") == "text {n} {x}"


def test_a_list_of_names_is_joined_as_the_language_does() -> None:
    message = Message("advise.best.some", n=2, mix="6", metric="accuracy", score="0.9", mixes=["4", "5"])
    assert "but not from 4, 5." in message
    assert "但与 4、5 没有显著差异。" in message.in_language("zh")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_message_speaks_as_well(copied: object) -> None:
    assert callable(copied)
    message = copied(Message("tokens.cut", n=1, of=2))
    assert isinstance(message, Message)
    assert message.in_language("zh") == "2 个词元中的前 1 个。"


def test_a_stored_result_speaks_every_language() -> None:
    notes = [Message("tokens.cut", n=1, of=2), "a note of the user"]
    several = [Message("advise.mean.sum"), Message("advise.equal", metric="accuracy", score="0.5")]
    stored = json.loads(
        json.dumps(
            {
                "notes": notes,
                "inner": {"text": " ".join(several), "messages": messages_json(text=several, note=None)},
                "messages": messages_json(notes=notes),
            }
        )
    )
    assert stored["notes"] == ["The first 1 of 2 tokens.", "a note of the user"]
    assert in_language(stored, "en")["notes"] == stored["notes"]
    assert in_language(stored, "en")["inner"]["text"] == stored["inner"]["text"]
    chinese = in_language(stored, "zh")
    assert chinese["notes"] == ["2 个词元中的前 1 个。", "a note of the user"]
    assert chinese["inner"]["text"] == "".join(part.in_language("zh") for part in several)
    assert chinese["inner"]["messages"]["text"] == [part.in_language("zh") for part in several]
    assert "note" not in chinese["inner"]["messages"]


@pytest.mark.parametrize(
    "message",
    [
        {"key": "no.such.key", "values": {}},
        {"key": "tokens.cut", "values": {"n": 1}},
        {"key": "tokens.cut", "values": {"n": 1.5, "of": 2}},
        {"key": "tokens.cut", "values": [1]},
        {"key": ["tokens.cut"], "values": {}},
        {"key": "tokens.cut"},
        7,
        None,
        [{"key": "tokens.cut", "values": {"n": [[[[[[[[[[["deep"]]]]]]]]]]], "of": 2}}],
    ],
)
def test_a_message_that_cannot_be_said_leaves_the_text_as_it_is(message: object) -> None:
    stored = {"note": "as it was", "messages": {"note": message}}
    assert in_language(stored, "zh")["note"] == "as it was"
