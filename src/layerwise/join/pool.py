"""pool: a coarser dataset from a finer one, without the model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise import names
from layerwise.errors import RequestError
from layerwise.read.example import Example
from layerwise.store import DatasetWriter, LayerDataset, open_dataset
from layerwise.tables import Carried, Coverage, index_table, texts_table
from layerwise.tolerance import AT_REST
from layerwise.versions import versions

if TYPE_CHECKING:
    from layerwise.encode.pieces import Pieces
    from layerwise.states import Layered

_FINER = {"word": ("token",), "text": ("token", "word")}


@dataclass(frozen=True)
class _Wish:
    """What is wanted, in the words of an encoder's request."""

    level: str
    pool: str | None
    special_tokens: bool

    @staticmethod
    def cls_place(pieces: Pieces) -> int:
        if not pieces.prefix:
            raise RequestError(
                "pool 'cls' needs a classification piece in front, and these texts have none; use mean"
            )
        return 0


def pool(
    dataset: LayerDataset | str | Path,
    out: str | Path,
    *,
    level: str = "text",
    pool: str | None = None,
    special_tokens: bool = True,
    dtype: str | None = None,
) -> LayerDataset:
    """Write the dataset that pooling the rows of `dataset` gives: token to word or text, or word to text.

    Args:
        dataset: a dataset, or its folder.
        out: the folder of the new one.
        level, pool, special_tokens: as in `Encoder.request`; from word level there are no special pieces.
        dtype: the type at rest; that of `dataset` by default.

    Raises:
        RequestError: a level that isn't coarser, or rows that can't be made from these.
    """
    finer = dataset if isinstance(dataset, LayerDataset) else open_dataset(dataset)
    wish = _check(finer, level, pool, special_tokens)
    dtype = names.one_of("dtype", dtype or finer.manifest["dtype"], names.DTYPES)
    derived = {
        "manifest": hashlib.sha256((finer.path / "manifest.json").read_bytes()).hexdigest(),
        "level": finer.level,
        "pool": finer.pool,
    }
    settings = {
        **finer.manifest["settings"],
        "level": level,
        "pool": wish.pool,
        "special_tokens": special_tokens,
        "dtype": dtype,
        "derived": derived,
    }
    with DatasetWriter(Path(out), settings) as writer:
        for number, part in enumerate(finer.parts()):
            if number >= len(writer.committed):
                _write(writer, part, wish, dtype, finer.manifest["columns"])
        if not writer.finished:
            writer.finish(_manifest(finer, wish, dtype, derived))
    return open_dataset(out)


def _check(finer: LayerDataset, level: str, pool: str | None, special_tokens: bool) -> _Wish:
    names.one_of("level", level, tuple(_FINER))
    wish = _Wish(level, names.fit_pool(level, pool), special_tokens)
    names.fit_special(level, wish.pool, special_tokens)
    if finer.level not in _FINER[level]:
        raise RequestError(
            f"level {level!r} can't be made from level {finer.level!r}; it takes a dataset of level "
            f"{' or '.join(_FINER[level])}"
        )
    if finer.level == "word" and wish.pool == "cls":
        raise RequestError(
            "pool 'cls' needs the classification piece, which a dataset of words doesn't hold; use mean"
        )
    if level == "word" and "text" not in finer.texts.column_names:
        raise RequestError(
            "words are found in the texts, and this dataset was made with --no-text; extract with --level word"
        )
    return wish


def _write(
    writer: DatasetWriter, part: Layered, wish: _Wish, dtype: str, columns: dict[str, list[str]]
) -> None:
    import torch

    from layerwise import align, pooling
    from layerwise.encode import rows as rowing

    start = time.perf_counter()
    examples, pieces, coverage = _texts(part, columns)
    first_doc = part.texts["doc"][0].as_py()
    made = []
    for number, (example, own) in enumerate(zip(examples, pieces, strict=True)):
        if part.level == "word" and not len(own):
            raise RequestError(
                f"text {first_doc + number} has no word, so no row; pool a dataset of level token instead"
            )
        made.append(rowing.rows_of(example, own, wish, wish, None, f"text {first_doc + number}"))
    groups = align.concatenate(
        [pooling.choose(m.groups, wish.pool) for m in made], [len(own) for own in pieces]
    )
    counts = dict.fromkeys(rowing.COUNTS, 0)
    for covered, one in zip(coverage, made, strict=True):
        rowing.count(counts, covered, one)
    carried = Carried(
        {field.name: field.type for field in part.texts.schema}, "text" not in part.texts.column_names
    )
    carried = Carried(carried.types, carried.no_text, tuple(columns["text"] + columns["word"]))
    rows = [one.rows for one in made]
    members = torch.from_numpy(groups.members)
    offsets = torch.from_numpy(np.cumsum(groups.counts) - groups.counts)
    into = writer.begin(part.layers, len(groups), part.width, dtype)
    for layer in part.layers:
        hidden = torch.from_numpy(part.layer(layer))
        values = pooling.reduce(hidden, members, offsets, pooling.reduction(wish.pool))
        into.put(layer, np.arange(len(groups)), values.numpy())
    record = {
        "input": None,
        "counts": counts,
        "columns": columns,
        "seconds": round(time.perf_counter() - start, 3),
    }
    into.commit(
        index_table(examples, rows, first_doc, wish.level, carried),
        texts_table(examples, coverage, first_doc, wish.level, carried),
        record,
    )


def _texts(
    part: Layered, columns: dict[str, list[str]]
) -> tuple[list[Example], list[Pieces], list[Coverage]]:
    """Return each text of a part with its rows seen as pieces."""
    index = part.index
    docs = index["doc"].to_numpy()
    borders = np.searchsorted(docs, part.texts["doc"].to_numpy())
    borders = np.append(borders, len(docs))
    arrays = {
        name: _numbers(index, name, missing) for name, missing in (("start", 0), ("end", 0), ("word", -1))
    }
    special = (
        index["special"].to_numpy() if "special" in index.column_names else np.zeros(len(docs), dtype=bool)
    )
    dropped = (
        index["dropped"].to_numpy() if "dropped" in index.column_names else np.zeros(len(docs), dtype=bool)
    )
    examples, pieces, coverage = [], [], []
    for row, begin, end in zip(part.texts.to_pylist(), borders[:-1], borders[1:], strict=True):
        examples.append(_example(row, columns))
        pieces.append(
            _pieces({k: a[begin:end] for k, a in arrays.items()}, special[begin:end], dropped[begin:end])
        )
        coverage.append(Coverage(row["pieces"], row["windows"], row["truncated"]))
    return examples, pieces, coverage


def _example(row: dict[str, Any], columns: dict[str, list[str]]) -> Example:
    words = row.get("words")
    return Example(
        row.get("text") or "",
        tuple(words) if words is not None else None,
        row["id"],
        row["source"],
        row["line"],
        {name: row[name] for name in columns["text"] if name in row},
        {name: tuple(row[name]) for name in columns["word"] if row.get(name) is not None},
    )


def _pieces(arrays: dict[str, Any], special: Any, dropped: Any) -> Pieces:
    from layerwise.encode.pieces import Pieces

    inside = np.flatnonzero(~special)
    prefix, suffix = (
        (int(inside[0]), int(len(special) - 1 - inside[-1])) if len(inside) else (len(special), 0)
    )
    nothing = np.zeros(len(special), dtype=np.int64)
    lost = frozenset(arrays["word"][dropped].tolist())
    return Pieces(nothing, nothing, arrays["start"], arrays["end"], arrays["word"], prefix, suffix, lost)


def _numbers(index: Any, name: str, missing: int) -> Any:
    if name not in index.column_names:
        return np.full(index.num_rows, missing, dtype=np.int64)
    return index[name].fill_null(missing).to_numpy().astype(np.int64)


def _manifest(finer: LayerDataset, wish: _Wish, dtype: str, derived: dict[str, Any]) -> dict[str, Any]:
    made = finer.manifest
    kept: Sequence[str] = ("model", "layers", "blocks", "width", "columns", "skipped", "notices", "machine")
    return {
        **{name: made[name] for name in kept},
        "level": wish.level,
        "pool": wish.pool,
        "dtype": dtype,
        "derived": derived,
        "tolerance": {**made["tolerance"], "value": made["tolerance"]["value"] + AT_REST[dtype]},
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
