"""What `export` returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise._util.display import count_of
from layerwise.recall import Recall
from layerwise.results import Result, Table

TRANSFORM, FACTS = "transform.safetensors", "export.json"


@dataclass(frozen=True, slots=True)
class SmallVectors:
    """What is known of exported small vectors.

    Attributes:
        mix: the mix string, with its layers resolved.
        rows, width: the number of rows, and of dimensions before the transform.
        numbers, dtype: how many numbers of which type a row has now; for an index those of a query.
        bytes_per_row: their size, with the scale of int8; for an index, the size of its file by row.
        variance: for principal components the share of the variance that they keep.
        fitted_rows: the number of rows that the transform was fitted on.
        recall: measured against exact search by the cosine of the centred rows; None for fewer than two rows.
    """

    mix: str
    rows: int
    width: int
    numbers: int
    dtype: str
    bytes_per_row: float
    fitted_rows: int
    variance: float | None
    recall: Recall | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; without those that don't apply, but for `recall`."""
        variance = {} if self.variance is None else {"variance": self.variance}
        return {
            "mix": self.mix,
            "rows": self.rows,
            "width": self.width,
            "numbers": self.numbers,
            "dtype": self.dtype,
            "bytes_per_row": self.bytes_per_row,
            "fitted_rows": self.fitted_rows,
            **variance,
            "recall": None if self.recall is None else self.recall.to_json(),
        }


@dataclass(frozen=True, slots=True, repr=False)
class Export(Result):
    """What was written; returned by `lw.export`. It can be used as the path.

    `to_pandas()` has the columns `name` and `value`, with the fields of `to_json`.

    Attributes:
        path: the file or folder.
        to: the format.
        small: for `binary`, `int8`, `pca:D`, `faiss` and `usearch` what is known of the small vectors; else None.
    """

    path: Path
    to: str
    small: SmallVectors | None = None

    @property
    def transform(self) -> Path | None:
        """The file of the transform for queries; None for whole vectors."""
        return None if self.small is None else self.path / TRANSFORM

    def __fspath__(self) -> str:
        return str(self.path)

    def to_json(self) -> dict[str, Any]:
        """Return `out`, and for small vectors `to` and their fields."""
        if self.small is None:
            return {"out": str(self.path)}
        return {"out": str(self.path), "to": self.to, **self.small.to_json()}

    def _lines(self) -> Sequence[str]:
        return [f"Export: {self.to}", str(self.path)[-95:], *(self.small_lines() if self.small else ())]

    def small_lines(self) -> list[str]:
        """Return in words how large the small vectors are, and what a search in them finds."""
        small = self.small
        if small is None:
            return []
        kept = "" if small.variance is None else f", {small.variance:.1%} of the variance"
        size = f"{count_of(small.rows, 'row')} of {small.bytes_per_row:,.0f} bytes (as float32: {4 * small.width:,}){kept}"
        recall = small.recall
        if recall is None:
            return [size, "recall: not measured, there is no other row to find"]
        return [
            size,
            f"recall@{recall.k} {recall.score:.4f} against exact search; "
            f"{count_of(recall.queries, 'query', 'queries')}, {count_of(recall.rows, 'row')}",
        ]

    def _table(self) -> Table:
        content = self.to_json()
        recall = content.pop("recall", None) or {}
        content |= {
            "recall" if name == "score" else f"recall_{name}": value for name, value in recall.items()
        }
        return {"name": list(content), "value": list(content.values())}
