"""Match the rows of two datasets of the same texts."""

import numpy as np
import pyarrow as pa

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.geometry.sample import Sample, pick
from layerwise.states import Layered
from layerwise.wording import Message

_PLACES = ("doc", "start", "end", "word")


def same_rows(sample: Sample, other: Layered, notes: list[Message]) -> Sample:
    """Return the rows of another dataset that correspond to sampled ones: equal row numbers, positions and texts.

    Where no texts are stored to compare, a note is added to `notes`.

    Raises:
        RequestError: another level, another number of rows, no layer in common, or rows of other texts.
    """
    whole = sample.whole
    if other.level != whole.level:
        raise RequestError(
            f"{argument('against')} is of level {other.level!r} and the dataset of level {whole.level!r}; give the same level"
        )
    if other.rows != whole.rows:
        raise RequestError(
            f"{argument('against')} has {other.rows:,} rows and the dataset {whole.rows:,}; "
            "extract the same texts with both models"
            + (", at level word or text: tokens differ between tokenizers" if whole.level == "token" else "")
        )
    if not set(other.layers) & set(whole.layers):
        raise RequestError(
            f"{argument('against')} holds layers {', '.join(other.layers)} and the dataset {', '.join(whole.layers)}: "
            "none in common; extract the same layers"
        )
    matched = pick(other, sample.chosen)
    for name in (*_PLACES, "text"):
        if name in matched.index.column_names and name in sample.index.column_names:
            _check(name, sample.index[name], matched.index[name], sample)
    if not {"text"} <= {*matched.index.column_names} & {*sample.index.column_names}:
        notes.append(Message("note.against.no.texts", option=argument("against")))
    return matched


def _check(name: str, expected: pa.ChunkedArray, actual: pa.ChunkedArray, sample: Sample) -> None:
    differ = np.flatnonzero([a != b for a, b in zip(expected.to_pylist(), actual.to_pylist(), strict=True)])
    if len(differ):
        row = int(differ[0])
        raise RequestError(
            f"{argument('against')} holds other texts: row {sample.chosen[row]} has {name} {actual[row].as_py()!r:.60}, "
            f"and in the dataset {expected[row].as_py()!r:.60}; extract the same texts with both models"
        )
