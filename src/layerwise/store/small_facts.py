"""The facts about small vectors and their transform that `info` shows."""

from pathlib import Path
from typing import Any

from layerwise._util import json_checks
from layerwise._util.display import count_of
from layerwise._util.guarded import read_json
from layerwise._util.paths import reason
from layerwise.errors import DatasetError
from layerwise.results import Facts
from layerwise.store.export_result import FACTS, TRANSFORM
from layerwise.store.transform_file import load_transform

_RECALL = json_checks.object_of(
    {
        "score": json_checks.number,
        "k": json_checks.whole(1),
        "queries": json_checks.whole(),
        "rows": json_checks.whole(),
    }
)
_ENTRIES: json_checks.Schema = {
    "to": json_checks.text,
    "mix": json_checks.text,
    "rows": json_checks.whole(1),
    "width": json_checks.whole(1),
    "numbers": json_checks.whole(1),
    "dtype": json_checks.text,
    "bytes_per_row": json_checks.number,
    "fitted_rows": json_checks.whole(1),
    "recall": json_checks.nullable(_RECALL),
    "level": json_checks.text,
    "dataset": json_checks.mapping,
    "made": json_checks.text,
    "versions": json_checks.map_of(json_checks.text),
}


def is_export(folder: Path) -> bool:
    """Return whether a folder holds small vectors, by the name of a file."""
    return (folder / FACTS).is_file()


def export_facts(folder: Path) -> Facts:
    """Return what is known of small vectors: their size, their recall, and which rows they are made of.

    Raises:
        DatasetError: a damaged description.
        RequestError: a transform that can't be read.
    """
    path = folder / FACTS
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} can't be read ({reason(error)}); export again") from None
    wrong = json_checks.first_wrong(content, _ENTRIES)
    if wrong is not None:
        raise DatasetError(
            f"{path} is damaged: {wrong} is {json_checks.entry(content, wrong)!r:.60}; export again"
        )
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    place = {"kind": "export", "path": str(folder), "bytes": size}
    facts = place | content | place | {"transform": _described(folder / TRANSFORM)}
    lines = (f"{count_of(content['rows'], 'row')} of the mix {content['mix']}, {content['to']}",)
    return Facts(f"Export {folder}", facts, lines)


def transform_facts(path: Path) -> Facts:
    """Return what a transform makes of which vectors.

    Raises:
        RequestError: no transform, or a damaged one.
    """
    described = _described(path)
    kind = described.pop("kind")
    line = f"{kind}: {count_of(described['width'], 'number')} of the mix {described['mix']} become {described['numbers']}"
    return Facts(
        f"Transform {path}", {"kind": "transform", "path": str(path), "to": kind, **described}, (line,)
    )


def _described(path: Path) -> dict[str, Any]:
    """Return what a transform is, and the rows that it was fitted on."""
    transform = load_transform(path)
    fitted = transform.fitted
    return {
        **transform.describe(),
        "of_head": fitted.of_head,
        "special_tokens": fitted.special_tokens,
        "model": fitted.model,
        "hashes": None if fitted.hashes is None else dict(fitted.hashes),
        "fitted_rows": fitted.rows,
        "split": fitted.split,
    }
