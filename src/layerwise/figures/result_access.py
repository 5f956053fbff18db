"""Access to results for figures: the content of a result, and the measures of an analysis by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerwise._util.folder_kinds import other_kind
from layerwise._util.guarded import read_json
from layerwise._util.paths import reason
from layerwise.errors import RequestError
from layerwise.figures.language import language
from layerwise.layers import depth, site
from layerwise.wording import in_language

ResultJson = Mapping[str, Any]


_FILES = {"probe": "probe.json", "analyze": "analysis.json"}


def content(result: Any, key: str, verb: str) -> ResultJson:
    """Return the JSON content of a result, in the language of the figure.

    Args:
        result: the content itself, an object with `to_json`, or the folder or file that `layerwise VERB` wrote.
        key: an entry that every result of this verb has.
        verb: `probe` or `analyze`.

    Raises:
        RequestError: it has no `key`, so it isn't a result of `layerwise VERB`; or a file that can't be read.
    """
    if isinstance(result, str | Path):
        mapping = _of_file(Path(result), verb)
    else:
        mapping = result.to_json() if hasattr(result, "to_json") else result
    if not isinstance(mapping, Mapping) or key not in mapping:
        kind = type(result).__name__
        raise RequestError(
            f"this {kind} has no {key!r}; give what lw.{verb} returns, or the folder or the JSON file that it wrote"
        )
    return in_language(mapping, language())


def _of_file(path: Path, verb: str) -> Any:
    """Return what the JSON file of a result holds, of a folder the file with the usual name."""
    name = _FILES[verb]
    file = path / name if path.is_dir() else path
    try:
        return read_json(file)
    except (OSError, ValueError) as error:
        other = other_kind(path, f"the result of `{verb}`")
        why = f"it is {other}" if other is not None else reason(error)
        raise RequestError(
            f"{path} can't be read ({why}); give the folder that `layerwise {verb}` wrote, or its {name}"
        ) from None


def per_layer(analysis: ResultJson) -> dict[str, ResultJson]:
    """Return the measures of an analysis that are a number per layer; of retrieval one for each direction."""
    return {
        key: of_direction
        for name, measure in analysis["measures"].items()
        if not _paired(measure)
        for key, of_direction in _by_direction(name, measure).items()
    }


def of_directions(analysis: ResultJson) -> dict[str, ResultJson]:
    """Return the measures of an analysis that are a number per layer and direction, such as retrieval."""
    measures: Mapping[str, ResultJson] = analysis["measures"]
    return {name: measure for name, measure in measures.items() if isinstance(measure["values"], Mapping)}


def few_directions(analysis: ResultJson) -> dict[str, ResultJson]:
    """Return the measures that are a number per layer, without those in more directions than two curves can show."""
    many = {name for name, measure in of_directions(analysis).items() if len(measure["values"]) > 2}
    measures = per_layer(analysis)
    few = {name: measure for name, measure in measures.items() if name.partition(":")[0] not in many}
    return few or measures


def _by_direction(name: str, measure: ResultJson) -> dict[str, ResultJson]:
    if not isinstance(measure["values"], Mapping):
        return {name: measure}
    ends = [key for key in ("values", "low", "high", "floor") if measure.get(key) is not None]
    return {
        f"{name}:{direction}": {**measure, **{key: measure[key][direction] for key in ends}}
        for direction in measure["values"]
    }


def of_pairs(analysis: ResultJson) -> dict[str, ResultJson]:
    """Return the measures of an analysis that are a matrix, of a number per pair of layers."""
    return {name: measure for name, measure in analysis["measures"].items() if _paired(measure)}


def listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the end of a message that lists the available names, or says that there are none."""
    return f"there are {', '.join(names)}" if names else "there are none"


# How far before the output of its block a site is drawn.
BEFORE = {"value": 0.75, "attention": 0.5, "mlp": 0.25}


def places(layers: Sequence[str]) -> list[float]:
    """Return positions of layers on an axis: their depths, or 0, 1, … where a name has no depth.

    Sites are drawn before the outputs of their blocks.
    """
    try:
        depths: list[float] = [depth(name) for name in layers]
    except ValueError:
        depths = []
    if depths and len(outputs(layers)) not in (0, len(layers)):
        return [at - BEFORE.get(site(name) or "", 0) for at, name in zip(depths, layers, strict=True)]
    return depths if depths and len(set(depths)) == len(layers) else list(range(len(layers)))


def outputs(layers: Sequence[str]) -> list[str]:
    """Return the layers that are no sites, which name the axis; all if there are none."""
    return [name for name in layers if site(name) is None] or list(layers)


def _paired(measure: ResultJson) -> bool:
    values = measure["values"]
    return not isinstance(values, Mapping) and len(values) > 0 and isinstance(values[0], Sequence)
