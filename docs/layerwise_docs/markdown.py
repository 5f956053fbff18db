"""Plain text as Markdown that shows it unchanged."""

import re

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|{}$~])")
_CODE = re.compile(r"(`[^`]+`)")
# A flag, with the word that follows where it is a placeholder: `--text a,b`, `--max-length`.
_FLAG = re.compile(r"(?<![\w`-])(--[a-z][a-z0-9-]+(?: [A-Z]{2,}\b)?)")


def escaped(text: str) -> str:
    """Return text whose special characters are escaped."""
    return _SPECIAL.sub(r"\\\1", text)


def in_markdown(text: str) -> str:
    """Return help or a docstring as Markdown: parts between backticks and flags are code, all else is plain text."""
    return "".join(
        part if part.startswith("`") and len(part) > 1 else _flags(part) for part in _CODE.split(text)
    )


def _flags(text: str) -> str:
    parts = _FLAG.split(text)
    return "".join(f"`{part}`" if number % 2 else escaped(part) for number, part in enumerate(parts))
