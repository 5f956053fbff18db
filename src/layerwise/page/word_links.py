"""The sentence pairs with links that the page shows: the first ones of a file that `align` wrote, or of its result."""

from collections.abc import Iterable, Mapping, Sequence
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
    """Return `layers`, `methods`, `pairs` and `more`, whether there are further pairs; or `None` where none are given.

    A pair has `a`, `b`, `links` by method and layer, and `cut`, how many words of each side are left out.

    Args:
        links: a result of `lw.align` that holds its pairs, or the file of JSON lines that it wrote.

    Raises:
        RequestError: a file that can't be read, that isn't such a file, or a result without pairs.
    """
    if links is None:
        return None
    every = _from_result(links) if isinstance(links, Alignment) else _from_file(Path(links))
    pairs = list(islice(every, SHOWN + 1))
    if not pairs:
        raise RequestError(
            f"{argument('links')} holds no sentence pairs; give the file of JSON lines that `align` wrote, or a result of it "
            "without `out`"
        )
    methods = list(pairs[0]["links"])
    layers = list(pairs[0]["links"][methods[0]])
    return {"methods": methods, "layers": layers, "pairs": pairs[:SHOWN], "more": len(pairs) > SHOWN}


def _from_result(result: Alignment) -> Iterable[dict[str, Any]]:
    return (_cut(pair.a, pair.b, pair.links) for pair in result.pairs)


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
    """Return the pair of a line.

    Raises:
        RequestError: no such line, or a link to a word that isn't there.
    """
    try:
        content = parse_json(line)
        a, b = ([str(word) for word in content[side]] for side in "ab")
        links = {
            str(method): {str(layer): _checked(pairs, len(a), len(b)) for layer, pairs in of_layers.items()}
            for method, of_layers in content["links"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise RequestError(
            f"{place} is no sentence pair with links; give the file that `align` wrote with {argument('to', 'jsonl')}"
        ) from None
    if not links or not all(links.values()):
        raise RequestError(f"{place} has no links of any method and layer; make the file again with `align`")
    return _cut(a, b, links)


def _checked(pairs: Any, a: int, b: int) -> list[tuple[int, int]]:
    numbers = [(int(i), int(j)) for i, j in pairs]
    if any(not (0 <= i < a and 0 <= j < b) for i, j in numbers):
        raise ValueError("a link to a word that isn't there")
    return numbers


def _cut(
    a: Sequence[str], b: Sequence[str], links: Mapping[str, Mapping[str, Iterable[tuple[int, int]]]]
) -> dict[str, Any]:
    """Return a pair whose sides have at most `_LONGEST` words, and the number of words that this leaves out."""
    kept = {
        method: {
            layer: [[i, j] for i, j in pairs if max(i, j) < _LONGEST] for layer, pairs in of_layers.items()
        }
        for method, of_layers in links.items()
    }
    cut = [max(len(side) - _LONGEST, 0) for side in (a, b)]
    return {"a": list(a[:_LONGEST]), "b": list(b[:_LONGEST]), "links": kept, "cut": cut}
