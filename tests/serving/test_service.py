"""Heads that a server takes."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from layerwise.errors import HeadError
from layerwise.heads.head import HeadData
from layerwise.serving.service import Service


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ({"context": [64, 0], "document": "document"}, "context of their documents"),
        ({"redact": {"kind": "presidio", "how": "presidio"}}, "doesn't redact"),
    ],
)
def test_heads_whose_texts_a_server_cannot_prepare_are_refused(
    encoder_of: Callable[[str], Any], heads: dict[str, Any], rows: Mapping[str, Any], why: str
) -> None:
    head: HeadData = heads["mood"]
    changed = HeadData(head.model, {**head.rows, **rows}, head.pairs, head.task_heads, name="mood")
    with pytest.raises(HeadError, match=why):
        Service([encoder_of("bert")], [changed])
