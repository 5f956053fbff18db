"""Which column looks like one of labels."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import layerwise as lw
from layerwise.labels.likely import likely_label

CASES: dict[str, tuple[dict[str, list[Any]], tuple[str, str] | None]] = {
    "classes": ({"mood": ["good", "bad"] * 10}, ("classify", "mood")),
    "the usual name first": ({"mood": ["a", "b"] * 10, "label": ["x", "y"] * 10}, ("classify", "label")),
    "numbers": ({"price": [f"{n}.5" for n in range(20)]}, ("regress", "price")),
    "few whole numbers": ({"stars": [1, 2, 3, 4] * 5}, ("classify", "stars")),
    "names of parts": ({"split": ["train", "test"] * 10}, None),
    "ids": ({"user_id": ["a", "b"] * 10}, None),
    "each value once": ({"title": [f"title {n}" for n in range(20)]}, None),
    "one value": ({"source.id": ["x"] * 20, "lang": ["en"] * 20}, None),
    "missing values": ({"label": ["", "a", "b", "a", "b"] * 5}, ("classify", "label")),
}


@pytest.mark.parametrize("case", CASES)
def test_the_column_of_labels(case: str, encoder_of: Callable[[str], Any]) -> None:
    columns, expected = CASES[case]
    states = encoder_of("bert").encode(["a b"] * len(next(iter(columns.values()))))
    texts = states.texts
    for name, values in columns.items():
        texts = texts.append_column(name, pa.array(values))
    rows = lw.LayerStates(
        {"1": states.layer("1")},
        index=states.index,
        texts=texts,
        blocks=states.blocks,
        level=states.level,
        pool=states.pool,
    )
    assert likely_label(rows, list(columns), []) == expected


def test_tags_of_words(encoder_of: Callable[[str], Any]) -> None:
    states = encoder_of("bert").encode([["Ann", "sleeps"]] * 3, level="word")
    for tags, expected in ((["B-PER", "O"], ("tag", "kind")), (["O", "O"], None)):
        rows = lw.LayerStates(
            {"1": states.layer("1")},
            index=states.index.append_column("kind", pa.array(tags * 3)),
            texts=states.texts,
            blocks=states.blocks,
            level="word",
            pool=states.pool,
        )
        assert likely_label(rows, [], ["kind"]) == expected
