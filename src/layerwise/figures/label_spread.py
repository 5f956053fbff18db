"""Placement of labels along a line so that they don't overlap."""

from collections.abc import Sequence


def spread(ideal: Sequence[float], need: float, low: float, high: float) -> list[float]:
    """Return ascending places at least `need` apart, near the ascending `ideal` ones, within low … high if they fit.

    Labels that would overlap become a block centred at the mean of their ideal places.
    """
    blocks: list[tuple[float, int]] = []  # centre, members
    for place in ideal:
        blocks.append((place, 1))
        while len(blocks) > 1 and _first(blocks[-1], need) < _last(blocks[-2], need) + need:
            (b, m), (a, n) = blocks.pop(), blocks.pop()
            blocks.append(((a * n + b * m) / (n + m), n + m))
    places = [_first(block, need) + i * need for block in blocks for i in range(block[1])]
    for i in reversed(range(len(places))):
        places[i] = min(places[i], high - need * (len(places) - 1 - i))
    for i in range(len(places)):
        places[i] = max(places[i], low + need * i)
    return places


def _first(block: tuple[float, int], need: float) -> float:
    return block[0] - (block[1] - 1) * need / 2


def _last(block: tuple[float, int], need: float) -> float:
    return block[0] + (block[1] - 1) * need / 2
