"""What a head is, as `info` shows it. The check for a head imports nothing heavy."""

from pathlib import Path

from layerwise import heads
from layerwise.results import Facts


def is_head(folder: Path) -> bool:
    """Return whether a folder holds a head, by the name of its file."""
    return (folder / "head.json").is_file()


def head_facts(folder: Path) -> Facts:
    """Return the content of `head.json` with the path of the head, after checking its tensors too.

    Raises:
        HeadError: a damaged head, or one of another format version.
    """
    heads.storage.read_head(folder)
    content = {"kind": "head", "path": str(folder), **heads.storage.describe_head(folder)}
    tasks = [
        f"{task['name']}: {task['task']} of {task['label']} on {task['mix']}" for task in content["tasks"]
    ]
    rows = f"rows of level {content['rows']['level']} by {content['model']['id']}"
    return Facts(f"Head {folder}", content, (rows, *tasks))
