"""Two datasets of the same texts: the rows of the one that stand for the rows of the other."""

import numpy as np
import pyarrow as pa

from layerwise.errors import RequestError
from layerwise.geometry.sample import Sample, pick
from layerwise.states import Layered

_PLACES = ("doc", "start", "end", "word")


def same_rows(drawn: Sample, other: Layered, notes: list[str]) -> Sample:
    """Return the rows of another dataset that stand for the drawn ones: the same numbers, places and texts.

    Where texts aren't stored, `notes` say so.

    Raises:
        RequestError: another level, another number of rows, no layer in common, or rows of other texts.
    """
    whole = drawn.whole
    if other.level != whole.level:
        raise RequestError(
            f"--against is of level {other.level!r} and the dataset of level {whole.level!r}; give the same level"
        )
    if other.rows != whole.rows:
        raise RequestError(
            f"--against has {other.rows:,} rows and the dataset {whole.rows:,}; extract the same texts with both models"
            + (", at level word or text: tokens differ between tokenizers" if whole.level == "token" else "")
        )
    if not set(other.layers) & set(whole.layers):
        raise RequestError(
            f"--against holds layers {', '.join(other.layers)} and the dataset {', '.join(whole.layers)}: none in common"
        )
    found = pick(other, drawn.chosen)
    for name in (*_PLACES, "text"):
        if name in found.index.column_names and name in drawn.index.column_names:
            _check(name, drawn.index[name], found.index[name], drawn)
    if not {"text"} <= {*found.index.column_names} & {*drawn.index.column_names}:
        notes.append(
            "No texts are stored, so nothing but their number says that --against holds the same ones."
        )
    return found


def _check(name: str, here: pa.ChunkedArray, there: pa.ChunkedArray, drawn: Sample) -> None:
    differ = np.flatnonzero([a != b for a, b in zip(here.to_pylist(), there.to_pylist(), strict=True)])
    if len(differ):
        row = int(differ[0])
        raise RequestError(
            f"--against holds other texts: row {drawn.chosen[row]} has {name} {there[row].as_py()!r:.60}, and in the "
            f"dataset {here[row].as_py()!r:.60}; extract the same texts with both models"
        )
