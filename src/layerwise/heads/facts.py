"""What a head is, as `info` shows it. The check for a head imports nothing heavy."""

from pathlib import Path
from typing import Any

from layerwise import heads


def is_head(folder: Path) -> bool:
    """Return whether a folder holds a head, by the name of its file."""
    return (folder / "head.json").is_file()


def head_facts(folder: Path) -> dict[str, Any]:
    """Return the content of `head.json` with the path of the head, after checking its tensors too.

    Raises:
        HeadError: a damaged head, or one of a newer format.
    """
    heads.storage.read_head(folder)
    return {"kind": "head", "path": str(folder), **heads.storage.describe_head(folder)}
