"""Read a list of words as Python, pandas, JSON and numpy print it: `['a', 'b']`, `["a", "b"]`, `['a' 'b']`, `[a, b]`."""

import json
import re
from typing import Any

_ARRAY = re.compile(r"(?:np\.|numpy\.)?(?:array|list|tuple)\((.*?)(?:,\s*dtype=[^()\[\]]{1,60})?\)", re.S)
# numpy 2 prints np.str_('a') and np.int64(1) in a list of Python.
_SCALAR = re.compile(r"""np\.\w{1,12}\(('(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|[^()'"]*+)\)""", re.S)
_ITEM = re.compile(r"""\s*+(?:'((?:[^'\\]|\\.)*+)'|"((?:[^"\\]|\\.)*+)"|([^\s,'"\[\]()]++))\s*+(,?)""", re.S)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}
_CONSTANTS = {"None": None, "null": None, "nan": None, "NaN": None, "True": True, "False": False}
_CONSTANTS |= {"true": True, "false": False}
_BRACKETS = {"[": "]", "(": ")"}
_NUMBER = re.compile(r"[+-]?\d{1,18}")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class BrokenListError(ValueError):
    """A cell that begins as a printed list, and isn't one."""


def parse_list(cell: str) -> list[Any] | None:
    """Return the items of a printed list: strings, numbers, booleans and `None`; `None` for any other cell.

    >>> parse_list("['New' 'York']"), parse_list("[O, B-LOC]"), parse_list("New York")
    (['New', 'York'], ['O', 'B-LOC'], None)

    Raises:
        BrokenListError: a list whose end is cut off, or whose quotes don't match.
    """
    text = cell.strip()
    if (array := _ARRAY.fullmatch(text)) is not None:
        text = array[1].strip()
    if _BRACKETS.get(text[:1]) is None:
        return None
    is_quoted = text[1:].lstrip()[:1] in ("'", '"') or text[1:].lstrip().startswith("np.")
    if not text.endswith(_BRACKETS[text[0]]) or len(text) == 1:
        if is_quoted:
            raise BrokenListError("the list has no end; it may have been cut off")
        return None
    return _quoted_list(text) if is_quoted else _bare_list(text)


def _quoted_list(text: str) -> list[Any]:
    if text.startswith('["'):
        try:
            value = json.loads(text)
        except (
            ValueError,
            RecursionError,
        ):  # Python's list, with a quote that is double because of an apostrophe
            value = None
        if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
            return value
    inner = (_SCALAR.sub(r"\1", text) if text[1:].lstrip().startswith("np.") else text)[1:-1]
    items: list[Any] = []
    position, end = 0, len(inner.rstrip())
    while position < end:
        item = _ITEM.match(inner, position)
        if item is None:
            raise BrokenListError("the quotes or brackets of the list don't match")
        single, double, bare, _ = item.groups()
        items.append(_bare_item(bare) if bare is not None else _unescaped(single or double or ""))
        position = item.end()
    return items


def _bare_item(bare: str) -> Any:
    if bare in ("...", "…"):
        raise BrokenListError("the list is shortened to '...'; write it in full")
    value = _number(bare)
    if isinstance(value, str):
        raise BrokenListError("the list has items with quotes and items without")
    return value


def _number(bare: str) -> Any:
    if bare in _CONSTANTS:
        return _CONSTANTS[bare]
    if _NUMBER.fullmatch(bare):
        return int(bare)
    return float(bare) if _FLOAT.fullmatch(bare) else bare


def _bare_list(text: str) -> list[Any] | None:
    """Return the items of a list without quotes: numbers, or words as pandas shows them on the screen."""
    inner = text[1:-1]
    if text[0] == "(" or re.search(r"[\[\]]", inner):
        return None
    if not inner.strip():
        return []
    parts = [part.strip() for part in inner.split(",")] if "," in inner else inner.split()
    numbers = [_number(part) for part in parts]
    if not any(isinstance(number, str) for number in numbers):
        return numbers
    # A text such as "[sic, he said]" has brackets too: it has spaces within its parts, or around them.
    words = inner.split(", ")
    if len(words) > 1 and all(word and not re.search(r"\s", word) for word in words):
        if "..." in words:
            raise BrokenListError("the list is shortened to '...'; write it in full")
        return list(words)
    return None


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    return _ESCAPES.get(code, code if code in "\\'\"/" else f"\\{code}")
