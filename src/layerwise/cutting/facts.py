"""What a cut is, as `layerwise.json` in its folder says and `info` shows. Nothing heavy is imported here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerwise._util import json_checks
from layerwise._util.guarded import read_json
from layerwise._util.paths import reason
from layerwise.choices import CUT_FORMATS
from layerwise.errors import ModelError
from layerwise.results import Facts

NAME, FORMAT, VERSION = "layerwise.json", "layerwise-cut", 1
_ENTRIES: json_checks.Schema = {
    "version": json_checks.whole(1, VERSION),
    "to": json_checks.one_of((*CUT_FORMATS, "static")),
    "source": {"id": json_checks.text, "family": json_checks.text, "weights": json_checks.sha256},
    "at": json_checks.text,
    "dropped": json_checks.list_of(json_checks.whole(1)),
    "blocks": json_checks.whole(),
    "width": json_checks.whole(1),
    "parameters": json_checks.whole(),
    "outputs": json_checks.list_of(json_checks.text),
    "errors": json_checks.map_of(json_checks.number),
    "made": json_checks.text,
    "versions": json_checks.map_of(json_checks.text),
}


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def read_description(folder: Path) -> dict[str, Any] | None:
    """Return what `layerwise.json` in a folder says of a cut; `None` without such a file, or with one of another program.

    Raises:
        ModelError: a damaged one, or one of a newer version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read ({reason(error)}); make the cut again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    wrong = json_checks.first_wrong(content, _ENTRIES)
    if wrong is not None:
        value = json_checks.entry(content, wrong)
        raise ModelError(
            f"{path}: {wrong} is {value!r:.60}, which this layerwise can't read; update layerwise (pip install -U layerwise), or "
            "make the cut again"
        )
    return dict(content)


def cut_facts(folder: Path, description: Mapping[str, Any]) -> Facts:
    """Return what a cut is that isn't a folder of transformers: a graph of ONNX, or a table of token vectors."""
    place = {"kind": "cut", "path": str(folder), "bytes": folder_bytes(folder)}
    content = place | dict(description) | place
    source = f"{description['to']}, layer {description['at']} of {description['source']['id']}"
    return Facts(f"Cut {folder}", content, (source,))
