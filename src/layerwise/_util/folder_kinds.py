"""What a folder that layerwise or transformers wrote is, by the name of one file: for errors on a folder of another kind."""

from pathlib import Path

_FILES = {
    "manifest.json.sha256": "a dataset",
    "work/settings.json": "an unfinished dataset",
    "head.json": "a head",
    "probe.json": "the result of `probe`",
    "analysis.json": "the result of `analyze`",
    "layerwise.json": "the result of `cut`",
    "modules.json": "a model",
    "config.json": "a model",
}


def other_kind(path: Path, than: str) -> str | None:
    """Return what a folder is, such as `a head`; `None` where it is what is expected, `than`, or isn't recognised.

    >>> other_kind(Path("no such folder"), "a head")
    """
    try:
        kind = next((kind for file, kind in _FILES.items() if (path / file).is_file()), than)
    except (OSError, ValueError):  # a name that is too long, or impossible
        return None
    return None if kind == than else kind
