"""The widths of layers: equal in most models, and other ones for the value vectors of grouped heads."""

from collections.abc import Iterable, Mapping

from layerwise.errors import RequestError

Widths = int | Mapping[str, int]
"""The number of dimensions of a vector: of all layers, or of each layer by its name."""


def width_of(widths: Widths, name: str) -> int:
    """Return the number of dimensions of a layer."""
    return widths if isinstance(widths, int) else widths[name]


def shown_width(widths: Widths) -> str:
    """Return the widths of layers for people: `384`, or `16 to 32` where they differ."""
    several = {widths} if isinstance(widths, int) else set(widths.values())
    return str(max(several)) if len(several) == 1 else f"{min(several)} to {max(several)}"


def common_width(widths: Widths, names: Iterable[str]) -> int:
    """Return the one number of dimensions that some layers have.

    Raises:
        RequestError: they have several.
    """
    first_names: dict[int, str] = {}
    for name in names:
        first_names.setdefault(width_of(widths, name), name)
    if len(first_names) == 1:
        return next(iter(first_names))
    unequal = ", ".join(f"{name} has {width}" for width, name in first_names.items())
    raise RequestError(
        f"the layers have vectors of unequal width ({unequal}); choose layers of one width, or concatenate them"
    )
