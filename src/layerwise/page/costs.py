"""What a model costs when it is cut at each layer, as the page shows it: a table that `cut --table` measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerwise._util import json_checks
from layerwise._util.guarded import read_json
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.states import Layered, LayerStates
from layerwise.store import LayerDataset

_ROW: json_checks.Schema = {
    "layer": json_checks.text,
    "blocks": json_checks.whole(),
    "parameters": json_checks.whole(),
    "bytes": json_checks.whole(),
    "tokens_per_s": json_checks.number,
    "score": json_checks.nullable(json_checks.number),
    "low": json_checks.nullable(json_checks.number),
    "high": json_checks.nullable(json_checks.number),
}
_MOST_ROWS = 10_000


def shown_costs(costs: Any, rows: Layered | None = None) -> dict[str, Any] | None:
    """Return the content of a table, or `None` where none is given.

    Args:
        costs: a result of `lw.cut` with `table`, its content, or the file that it was written to.
        rows: the rows of the page.

    Raises:
        RequestError: a file that can't be read, one that holds no such table, or the costs of another model than that of the
            rows.
    """
    if costs is None:
        return None
    content = costs.to_json() if hasattr(costs, "to_json") else costs
    where = argument("costs")
    if isinstance(content, str | Path):
        where, content = str(content), _read(Path(content))
    if not (isinstance(content, Mapping) and _is_table(content)):
        raise RequestError(
            f"{where} holds no costs of cuts; give the file that `cut` wrote with {argument('table', True)}"
        )
    source = content["source"]
    weights = None if rows is None else _weights(rows)
    if weights is not None and source.get("weights", weights) != weights:
        raise RequestError(
            f"{where} has the costs of {source['id']!r:.60}, and the rows are of another model; measure that one with `cut` "
            f"and {argument('table', True)}"
        )
    return {
        "model": source["id"],
        "device": content["device"],
        **{name: content[name] for name in ("texts", "tokens", "rounds", "label", "metric")},
        "rows": [{name: row[name] for name in (*_ROW, "coarse")} for row in content["rows"]],
        "notes": list(content["notes"]),
        "messages": content["messages"],
    }


def _weights(rows: Layered) -> str | None:
    """Return the hash of the weights of the model that rows are of; `None` where it isn't known."""
    if isinstance(rows, LayerDataset):
        return str(rows.manifest.model.weights)
    model = rows.model if isinstance(rows, LayerStates) else None
    return None if model is None else model.hashes["weights"]


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except OSError as error:
        raise RequestError(
            f"{argument('costs', str(path))}: {error.strerror or error}; give the file that `cut` wrote with "
            f"{argument('table', True)}"
        ) from None
    except ValueError as error:
        raise RequestError(f"{path} isn't JSON ({error}); make it again") from None


def _is_table(content: Mapping[str, Any]) -> bool:
    rows, source = content.get("rows"), content.get("source")
    if not (isinstance(source, Mapping) and isinstance(source.get("id"), str) and isinstance(rows, list)):
        return False
    counts = all(json_checks.whole()(content.get(name)) for name in ("texts", "tokens", "rounds"))
    texts = all(
        content.get(name, 0) is None or isinstance(content.get(name), str) for name in ("label", "metric")
    )
    return (
        counts
        and texts
        and isinstance(content.get("device"), str)
        and json_checks.list_of(json_checks.text)(content.get("notes"))
        and json_checks.mapping(content.get("messages"))
        and 0 < len(rows) <= _MOST_ROWS
        and all(_is_row(row) for row in rows)
    )


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and set(row) >= {*_ROW, "coarse"}
        and isinstance(row["coarse"], bool)
        and json_checks.first_wrong(row, _ROW) is None
    )
