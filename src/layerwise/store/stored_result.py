"""Read the JSON content of a result: of `probe` or `analyze`, in memory, or in the folder or file that it was written to."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerwise._util.folder_kinds import other_kind
from layerwise._util.guarded import read_json
from layerwise.arguments import argument
from layerwise.errors import RequestError

VERBS = {"probe": "probe", "analysis": "analyze"}


def result_content(result: Any, name: str, kind: str) -> dict[str, Any]:
    """Return the content of a result, unchecked but for its kind.

    Args:
        result: the result of a verb, its content, or the folder or file that it was written to.
        name: the argument that holds it, for messages.
        kind: `probe` or `analysis`; the file is called `KIND.json`.

    Raises:
        RequestError: no result, one of another kind, or a file that can't be read.
    """
    if isinstance(result, str | Path):
        return _read(Path(result), name, kind)
    if isinstance(result, Mapping):
        return _checked(dict(result), kind, name)
    if not hasattr(result, "to_json"):
        raise RequestError(f"{argument(name)} can't be {result!r:.60}; give a result, or the folder of one")
    return _checked(result.to_json(), kind, name)


def _read(folder: Path, name: str, kind: str) -> dict[str, Any]:
    file = folder / f"{kind}.json" if folder.is_dir() else folder
    try:
        data = read_json(file)
    except OSError as error:
        other = other_kind(folder, f"the result of `{VERBS[kind]}`")
        what = f"this is {other}" if other else error.strerror or error
        raise RequestError(
            f"{argument(name, str(folder))}: {what}; give the folder that `{VERBS[kind]}` wrote{_to_make(folder, other, kind)}"
        ) from None
    except ValueError as error:
        raise RequestError(f"{file} isn't JSON ({error}); make it again") from None
    return _checked(data, kind, str(file))


def _to_make(folder: Path, other: str | None, kind: str) -> str:
    """Return how a result is made of a dataset that is given in its place."""
    if other != "a dataset":
        return ""
    options = " --task TASK --label COL" if kind == "probe" else ""
    return f": `layerwise {VERBS[kind]} {shlex.quote(str(folder))}{options} --out DIR` makes one"


def _checked(data: Any, kind: str, where: str) -> dict[str, Any]:
    """Return the content, after checking that it is a complete result of its kind."""
    is_complete = _is_probe if kind == "probe" else _is_analysis
    if not (isinstance(data, Mapping) and is_complete(data)):
        raise RequestError(
            f"{where} contains no {kind}, or a damaged one; make it again with `{VERBS[kind]}`"
        )
    return dict(data)


def _is_probe(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("candidates"), list | tuple)


def _is_analysis(data: Mapping[str, Any]) -> bool:
    layers, measures = data.get("layers"), data.get("measures")
    if not (isinstance(layers, list | tuple) and layers and isinstance(measures, Mapping)):
        return False
    return all(
        isinstance(measure, Mapping) and _has_layers(measure.get("values"), len(layers))
        for measure in measures.values()
    )


def _has_layers(values: Any, layers: int) -> bool:
    """Return whether there is a list with an entry per layer, or one for each direction."""
    lists = list(values.values()) if isinstance(values, Mapping) else [values]
    return bool(lists) and all(isinstance(of, list | tuple) and len(of) == layers for of in lists)
