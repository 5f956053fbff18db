"""The files of a folder that `datasets` wrote with `save_to_disk`."""

from pathlib import Path
from typing import Any

from layerwise._util.guarded import read_json
from layerwise.errors import SourceError
from layerwise.example import clean
from layerwise.read.record import listed

_STATE, _SPLITS, INFO = "state.json", "dataset_dict.json", "dataset_info.json"


def saved_files(folder: Path) -> list[Path] | None:
    """Return the Arrow files of a saved dataset in their order; `None` for any other folder.

    Raises:
        SourceError: a dictionary of splits, of which one must be named; a damaged description.
    """
    if (folder / _SPLITS).is_file():
        splits = [str(name) for name in _read(folder / _SPLITS).get("splits", ())]
        example = clean(f"{folder.as_posix()}/{splits[0] if splits else 'train'}")
        raise SourceError(
            f"{clean(folder.as_posix())} holds several splits: {listed(splits)}; name the folder of one, such as {example}"
        )
    if not (folder / _STATE).is_file():
        return None
    state = _read(folder / _STATE)
    try:
        if state.get("_indices_data_files") or state.get("_indices_files"):
            raise SourceError(
                f"{clean(folder.as_posix())} holds a selection of rows that isn't written out; save it with a newer "
                "version of datasets"
            )
        names = [str(file["filename"]) for file in state["_data_files"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder / _STATE, "it lists no files") from error
    for name in names:
        if Path(name).name != name:
            raise _damaged(folder / _STATE, f"the file {name[:60]!r} isn't in its folder")
    if not names:
        raise SourceError(f"{clean(folder.as_posix())} holds no rows; name another source")
    return [folder / name for name in names]


def saved_features(folder: Path) -> Any:
    """Return the description of the columns of a saved dataset; `None` if there is none."""
    return _read(folder / INFO).get("features") if (folder / INFO).is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(value, dict):
        raise _damaged(path, "it is no JSON object")
    return value


def _damaged(path: Path, why: str) -> SourceError:
    return SourceError(f"{clean(path.as_posix())} can't be read: {why}; save the dataset again")
