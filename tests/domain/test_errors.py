"""Errors show their message in one line, whatever they quote."""

import pytest

import layerwise as lw
from layerwise.errors import LayerwiseError


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("corpus is empty; give some texts", "corpus is empty; give some texts"),
        ("column 'a\nb' is missing", "column 'a b' is missing"),
        ("one\r\ntwo\rthree\u2028four", "one two three four"),
        ("ended\n", "ended"),
    ],
)
@pytest.mark.parametrize(
    "kind", [LayerwiseError, lw.RequestError, lw.SourceError, lw.ModelError, lw.DatasetError, lw.HeadError]
)
def test_a_message_is_one_line(kind: type[LayerwiseError], message: str, line: str) -> None:
    assert str(kind(message)) == line
