"""The sentence pairs with links that the page shows: the first ones of a file that `align` wrote, or of its result."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from layerwise._util.guarded import open_regular, parse_json
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.geometry.word_alignment.result import Alignment

SHOWN = 30
_LONGEST = 200  # words of a side


def shown_links(links: Any) -> dict[str, Any] | None:
    """Return `layers`, `methods` and `pairs` (`a`, `b`, `links` by method and layer), or `None` where none are given.

    Args:
        links: a result of `lw.align` that holds its pairs, or the file of JSON lines that it wrote.

    Raises:
        RequestError: a file that can't be read, that isn't such a file, or a result without pairs.
    """
    if links is None:
        return None
    pairs = list(
        islice(_from_result(links) if isinstance(links, Alignment) else _from_file(Path(links)), SHOWN)
    )
    if not pairs:
        raise RequestError(
            f"{argument('links')} holds no sentence pairs; give the file of JSON lines that `align` wrote, or a result of it "
            "without `out`"
        )
    methods = list(pairs[0]["links"])
    return {"methods": methods, "layers": list(pairs[0]["links"][methods[0]]), "pairs": pairs}


def _from_result(result: Alignment) -> Iterable[dict[str, Any]]:
    return ({key: value for key, value in pair.to_json().items() if key != "doc"} for pair in result.pairs)


def _from_file(path: Path) -> Iterable[dict[str, Any]]:
    try:
        with open_regular(path) as file:
            for number, line in enumerate(file, 1):
                yield _pair(line, f"{path}, line {number}")
    except OSError as error:
        raise RequestError(
            f"{argument('links', str(path))}: {error.strerror or error}; give the file that `align` wrote"
        ) from None


def _pair(line: bytes, place: str) -> dict[str, Any]:
    """Return a pair of a line; words of both sides are cut to `_LONGEST`, and links to other words are left out."""
    try:
        content = parse_json(line)
        a, b = ([str(word) for word in content[side]][:_LONGEST] for side in "ab")
        links = {
            str(method): {str(layer): _inside(pairs, len(a), len(b)) for layer, pairs in of_layers.items()}
            for method, of_layers in content["links"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise RequestError(
            f"{place} is no sentence pair with links; give the file that `align` wrote with {argument('to', 'jsonl')}"
        ) from None
    if not links or not all(links.values()):
        raise RequestError(f"{place} has no links of any method and layer; make the file again with `align`")
    return {"a": a, "b": b, "links": links}


def _inside(pairs: Any, a: int, b: int) -> list[list[int]]:
    numbers = [(int(i), int(j)) for i, j in pairs]
    return [[i, j] for i, j in numbers if 0 <= i < a and 0 <= j < b]
