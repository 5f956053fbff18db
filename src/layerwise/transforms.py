"""Transforms that make vectors small for search: bits, int8 codes, fewer dimensions, or unit length.

Each subtracts the mean of the rows that it was fitted on, and then keeps of a vector

    binary    the sign of each number, 8 of them to a byte
    int8      the numbers as int8, with a scale per vector
    pca       its coordinates on the first principal components, float32
    unit      its direction: a vector of length 1, float32, as indexes of faiss and usearch hold it

Documents and queries go through the same transform. What is close to each other is then close to the cosine of the
centred vectors: by Hamming distance for bits, and by the cosine for all others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.row_codes import int8_rows
from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.mixes import block_slices, within_float32

KINDS = ("binary", "int8", "pca", "unit")
Codes = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FittedRows:
    """The rows that a transform was fitted on, and so the vectors that it is for.

    Attributes:
        mix: the mix string, with its layers resolved.
        of_head: whether the mix is that of a trained head, and not of the string alone.
        level, pool, special_tokens: how tokens became rows.
        model: the id of the model; None where it isn't known.
        hashes: SHA-256 of its weights, tokenizer and config; None where they aren't known.
        rows: the number of rows.
        split: the column whose training rows they are; None for all rows of the dataset.
    """

    mix: str
    of_head: bool
    level: str
    pool: str | None
    special_tokens: bool
    model: str | None
    hashes: Mapping[str, str] | None
    rows: int
    split: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Transform:
    """A transform of vectors, fitted on rows; call it with vectors. `lw.load_transform` reads one.

    Attributes:
        kind: `binary`, `int8`, `pca` or `unit`.
        mean: that of the fitted rows, float32 (width,).
        components: for `pca` the principal components, of length 1, float32 (numbers, width); else None.
        fitted: the rows that it was fitted on.
    """

    kind: str
    mean: F32
    components: F32 | None
    fitted: FittedRows

    @property
    def width(self) -> int:
        """The number of dimensions of a vector that it takes."""
        return len(self.mean)

    @property
    def numbers(self) -> int:
        """How many numbers it makes of a vector."""
        if self.components is not None:
            return len(self.components)
        return -(-self.width // 8) if self.kind == "binary" else self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of these numbers: uint8 for `binary`, int8, or float32."""
        return np.dtype({"binary": "u1", "int8": "i1"}.get(self.kind, "<f4"))

    def __call__(self, vectors: Any) -> Codes:
        """Return the small vectors, (rows, numbers), of type `dtype`.

        Bits are packed as `numpy.packbits` does, the first dimension first, and filled with zeros to whole bytes.

        Args:
            vectors: the vectors, (rows, width).

        Raises:
            RequestError: another shape or width, or a number that isn't finite.
        """
        return self.with_scales(vectors)[0]

    def with_scales(self, vectors: Any) -> tuple[Codes, F32 | None]:
        """Return the small vectors, and for `int8` the scales (rows,): `codes * scales[:, None] + mean` are the vectors."""
        values = self._checked(vectors)
        codes = np.empty((len(values), self.numbers), self.dtype)
        scales = np.empty(len(values), np.float32) if self.kind == "int8" else None
        for rows in block_slices(*values.shape):
            codes[rows], of_rows = self._small(self.centred(values[rows]))
            if scales is not None and of_rows is not None:
                scales[rows] = of_rows
        return codes, scales

    def centred(self, values: F32) -> F32:
        """Return vectors (rows, width) without the mean."""
        with within_float32():
            difference: F32 = values - self.mean
        return difference

    def _small(self, centred: F32) -> tuple[Codes, F32 | None]:
        if self.kind == "binary":
            return np.packbits(centred > 0, axis=1), None
        if self.kind == "int8":
            return int8_rows(centred)
        if self.components is not None:
            return centred @ self.components.T, None
        return unit_rows(centred), None

    def _checked(self, vectors: Any) -> F32:
        try:
            with np.errstate(over="ignore"):  # refused below
                values = np.asarray(vectors, np.float32)
        except (TypeError, ValueError):
            raise RequestError(
                f"vectors are {type(vectors).__name__}, not numbers; give an array (rows, {self.width})"
            ) from None
        if values.ndim != 2 or values.shape[1] != self.width:
            shape = f"(rows, {values.shape[1]})" if values.ndim == 2 else f"shape {values.shape}"
            raise RequestError(
                f"vectors are {shape} and this transform takes (rows, {self.width}), of the mix {self.fitted.mix}; give such "
                "vectors, or another transform"
            )
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise RequestError(f"row {int(np.argmin(finite))} has numbers that aren't finite; leave it out")
        return values

    def comparable(self, codes: Codes) -> F32:
        """Return small vectors as float32 (rows, d), whose dot products order them as a search does."""
        if self.kind == "binary":
            bits = np.unpackbits(codes, axis=1, count=self.width)
            return 2 * bits.astype(np.float32) - 1
        return unit_rows(codes.astype(np.float32))

    def describe(self) -> dict[str, Any]:
        """Return what it is, as JSON values."""
        return {
            "kind": self.kind,
            "mix": self.fitted.mix,
            "level": self.fitted.level,
            "pool": self.fitted.pool,
            "width": self.width,
            "numbers": self.numbers,
            "dtype": self.dtype.name,
        }

    def __repr__(self) -> str:
        of_head = " of a head" if self.fitted.of_head else ""
        return (
            f"<Transform {self.kind}: {self.width} numbers of the mix {self.fitted.mix}{of_head} become {self.numbers} of "
            f"{self.dtype.name}>"
        )


def unit_rows(values: F32) -> F32:
    """Return finite rows (n, d) at length 1; rows of zeros stay zeros."""
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0)
    scaled = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)
    lengths = np.sqrt(np.einsum("nd,nd->n", scaled, scaled))[:, None]
    unit: F32 = np.divide(scaled, lengths, out=scaled, where=lengths > 0)
    return unit
