"""All sentences that readers of results see, in every language: a catalogue per language, and messages from it.

The catalogues are `languages/en.json` and `languages/zh.json`: templates by key, with `{names}` of values. A key that
ends in `.one` is used instead where the value `n` is 1; `{n:row|rows}` in a template is `row` where the value `n` is 1, and
`rows` elsewhere. The page, the advice and the notes of results take their words
from here, so a stored result can be shown in any of the languages.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

from layerwise._util.display import DECIMALS, half_up, rounded

Value: TypeAlias = "str | int | Message | Sequence[str | Message]"
"""A name or a formatted number, a whole number, a part of a sentence, or a list of names."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NUMBER_FORMS = re.compile(r"\{(\w+):([^{}|]*)\|([^{}|]*)\}")  # of one, and of any other number
_IDEOGRAPH = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_FULL_WIDTH = re.compile("[\u3001-\u303f\uff00-\uffef\u2018-\u201d]")
_LATIN = re.compile("[A-Za-z0-9²]")
_DIGITS: ContextVar[int] = ContextVar("digits", default=3)
_DEEPEST = 8  # levels of messages within messages that are read from a file


@cache
def catalogue(lang: str) -> dict[str, str]:
    """Return the templates of a language by key."""
    file = resources.files("layerwise") / "languages" / f"{lang}.json"
    templates: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return templates


class Message(str):
    """A sentence, or a part of one, from the catalogue: a string in English that can be said in other languages.

    >>> Message("tokens.cut", n=64, of=1200)
    'The first 64 of 1,200 tokens.'
    >>> Message("tokens.cut", n=64, of=1200).in_language("zh")
    '1,200 个词元中的前 64 个。'

    Attributes:
        key: its key in the catalogue.
        values: the values of its placeholders. Whole numbers get separators of thousands, lists are joined as the
            language does; other numbers are formatted before (`fixed`, `percent`), once for all languages.
    """

    __slots__ = ("key", "values")
    key: str
    values: Mapping[str, Value]

    def __new__(cls, key: str, /, **values: Value) -> Message:
        """Return the message of a key of the catalogue.

        Raises:
            KeyError: the catalogue has no such key, or its text a placeholder without a value.
        """
        message = super().__new__(cls, _rendered(key, values, "en"))
        message.key, message.values = key, values
        return message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.key, dict(self.values))

    def in_language(self, lang: str) -> str:
        """Return the text in a language: `en` or `zh`."""
        return _rendered(self.key, self.values, lang)

    def to_json(self) -> dict[str, Any]:
        """Return `key` and `values`; messages within it are such objects too."""
        return {"key": self.key, "values": {name: _value_json(value) for name, value in self.values.items()}}


def phrase(lang: str, key: str, /, **values: Value) -> str:
    """Return a text of the catalogue in a language."""
    return _rendered(key, values, lang)


def name_of(group: str, name: str) -> str:
    """Return the message `GROUP.NAME`; without one in the catalogue the name itself, with blanks for underscores.

    >>> name_of("metric", "span_f1"), name_of("metric", "my_score")
    ('span F1', 'my score')
    """
    key = f"{group}.{name}"
    return Message(key) if key in catalogue("en") else name.replace("_", " ")


def some(items: Sequence[str], most: int = 5) -> Value:
    """Return a value that lists the first items, and says how many more there are."""
    if len(items) <= most:
        return list(items)
    return Message("note.list.more", items=list(items[:most]), n=len(items) - most)


def reason(error: Exception) -> str:
    """Return what an error says, as a message where it was raised with one."""
    first = error.args[0] if error.args else ""
    return first if isinstance(first, Message) else str(error)


def baseline_name(name: str, task: str | None) -> str:
    """Return the name of a baseline of a probe as people write it; of numbers the answer that needs no features is the mean.

    >>> baseline_name("majority", "classify"), baseline_name("majority", "regress")
    ('majority', 'mean')
    """
    return name_of("baseline", "mean" if (name, task) == ("majority", "regress") else name)


_ATTRIBUTE = "leakage_attribute:"


def measure_name(name: str) -> str:
    """Return the name of a measure of an analysis as people write it.

    >>> measure_name("against_rsa"), measure_name("linear_cka")
    ('RSA (against the other dataset)', 'linear CKA')
    """
    if name.startswith("retrieval_") and ":" in name:
        variant, _, direction = name.partition(":")
        return Message(
            "measure.direction", name=name_of("measure", variant), direction=direction.replace(">", " → ")
        )
    if name.startswith(_ATTRIBUTE):
        return Message("measure.leakage_attribute", column=repr(name.removeprefix(_ATTRIBUTE)))
    if name.startswith("against_"):
        return Message("measure.against", name=name_of("measure", name.removeprefix("against_")))
    return name_of("measure", name)


def text_in(text: str, lang: str) -> str:
    """Return a message in a language; any other string unchanged."""
    return text.in_language(lang) if isinstance(text, Message) else text


@contextmanager
def digits(count: int) -> Iterator[None]:
    """Give numbers `count` digits after the point until the end of the block, where `fixed` isn't told how many.

    >>> with digits(2):
    ...     fixed(0.84712)
    '0.85'
    """
    before = _DIGITS.set(count)
    try:
        yield
    finally:
        _DIGITS.reset(before)


def fixed(value: float, digits: int | None = None) -> str:
    """Return a number with a fixed number of digits, the same in every language; `–` where it isn't finite.

    Without `digits` there are 3, or as many as the function `digits` says.

    >>> fixed(0.84712), fixed(-0.5, 1), fixed(-0.0001), fixed(float("nan"))
    ('0.847', '−0.5', '0.000', '–')
    """
    places = _DIGITS.get() if digits is None else digits
    return half_up(value, places) if math.isfinite(value) else "–"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage, the same in every language.

    >>> percent(0.333)
    '33%'
    """
    return f"{half_up(100 * share, digits)}%" if math.isfinite(share) else "–"


def span(low: float, high: float, most: int = DECIMALS) -> str:
    """Return two ends of numbers with at most `most` decimals, or one where they are the same.

    The page does the same (`spanWord` in matrix.js).

    >>> span(0.6213, 0.6842), span(0.0, 0.0), span(0.01251, 0.01252)
    ('0.621 to 0.684', '0', '0.013')
    """
    ends = [rounded(end, most) if end else "0" for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else Message("span", low=ends[0], high=ends[1])


def joined(sentences: Sequence[str], lang: str) -> str:
    """Return sentences as a paragraph."""
    return catalogue(lang)["sentences"].join(sentences)


def messages_json(**fields: str | Sequence[str] | None) -> dict[str, Any]:
    """Return the `messages` of a JSON object: for each field with text the message, or the list, that it is made of.

    Fields without text are left out; strings that aren't from the catalogue remain as they are.
    """
    return {
        name: _value_json(text) if isinstance(text, str) else [_value_json(part) for part in text]
        for name, text in fields.items()
        if text
    }


def said_again(texts: Sequence[str], messages: Any) -> list[str]:
    """Return stored sentences as the messages of their JSON form (`messages_json`), in the same order.

    A sentence without one, or with one that the catalogue lacks or that says something else in English, remains a string.
    """
    parts = messages if isinstance(messages, list) and len(messages) == len(texts) else texts
    return [_same_message(text, part) for text, part in zip(texts, parts, strict=True)]


def _same_message(text: str, part: Any) -> str:
    try:
        message = _restored_part(part)
    except (KeyError, TypeError, ValueError):
        return text
    return message if message == text else text


def in_language(content: Mapping[str, Any], lang: str) -> dict[str, Any]:
    """Return the JSON content of a result with its sentences in a language.

    An object that has sentences in its fields has a field `messages` with the messages of these fields
    (`messages_json`). The fields and their messages become text in this language. A message that the catalogue
    lacks, such as one from another version, leaves the field as it is.
    """
    translated = {
        name: in_language(value, lang) if isinstance(value, Mapping) and name != "messages" else value
        for name, value in content.items()
    }
    messages = content.get("messages")
    if not isinstance(messages, Mapping):
        return translated
    translated["messages"] = {}
    for name, message in messages.items():
        text = _text_of(message, lang) if name in content else None
        if text is not None:
            whole = isinstance(text, str) or isinstance(content[name], list | tuple)
            translated[name] = text if whole else joined(text, lang)
            translated["messages"][name] = text
    return translated


def _text_of(message: Any, lang: str) -> str | list[str] | None:
    """Return the text of the JSON form of a message, or of a list of them; `None` where it can't be said."""
    try:
        if isinstance(message, list):
            return [_rendered_value(_restored_part(part), lang) for part in message]
        return _rendered_value(_restored_part(message), lang)
    except (KeyError, TypeError, ValueError):
        return None


def _restored(key: str, values: Mapping[str, Value]) -> Message:
    return Message(key, **values)


def _restored_value(value: Any, depth: int) -> Value:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, list):
        return [_restored_part(part, depth + 1) for part in value]
    return _restored_part(value, depth)


def _restored_part(part: Any, depth: int = 0) -> str:
    """Return the message, or other string, of its JSON form.

    Raises:
        KeyError, TypeError, ValueError: it is neither, or its key isn't in the catalogue.
    """
    if isinstance(part, str):
        return part
    if depth > _DEEPEST:
        raise ValueError("too many levels")
    values = dict(part["values"])
    return Message(part["key"], **{name: _restored_value(value, depth + 1) for name, value in values.items()})


def _value_json(value: Value) -> Any:
    if isinstance(value, Message):
        return value.to_json()
    return value if isinstance(value, str | int) else [_value_json(part) for part in value]


def _rendered(key: str, values: Mapping[str, Value], lang: str) -> str:
    templates = catalogue(lang)
    template = (
        templates[f"{key}.one"] if values.get("n") == 1 and f"{key}.one" in templates else templates[key]
    )
    template = _NUMBER_FORMS.sub(
        lambda forms: forms[2] if _rendered_value(values[forms[1]], lang) == "1" else forms[3], template
    )
    if lang != "zh":
        return _PLACEHOLDER.sub(lambda name: _rendered_value(values[name[1]], lang), template)
    text, *rest = _PLACEHOLDER.split(template)
    for name, words in zip(rest[::2], rest[1::2], strict=True):
        text = beside(beside(text, _rendered_value(values[name], lang)), words)
    return text


def beside(left: str, right: str) -> str:
    """Return two parts of a Chinese sentence with the blanks between them that its typography asks for.

    One between an ideograph and a Latin letter or a digit; none between ideographs, and beside full-width punctuation. The
    page does the same (`beside` in words.js).

    >>> beside("准确率", "为 0.81"), beside("R²", "为 0.81"), beside("0.81 ", "（95% 区间）")
    ('准确率为 0.81', 'R² 为 0.81', '0.81（95% 区间）')
    """
    before, after = left.rstrip(" "), right.lstrip(" ")
    pair = before[-1:] + after[:1]
    if len(pair) < 2:
        return left + right
    ideographs = len(_IDEOGRAPH.findall(pair))
    if _FULL_WIDTH.search(pair) or ideographs == 2:
        return before + after
    return f"{before} {after}" if ideographs and _LATIN.search(pair) else left + right


def _rendered_value(value: Value, lang: str) -> str:
    if isinstance(value, Message):
        return value.in_language(lang)
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return catalogue(lang)["comma.list"].join(_rendered_value(part, lang) for part in value)
