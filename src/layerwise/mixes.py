"""Mix strings: how one vector is made of many layers.

`HOW(LAYERS)`, or `HOW:LAYERS`, which needs no quoting in a shell; a single layer is itself a mix. Options
follow a semicolon:

    8                                   only layer 8
    mean(-4:)                           the mean of the last four layers
    concat(1,6,12)                      side by side: three times the width
    weighted(9,10,11,12; 0.1,0.2,0.3,0.4)
    mean(-4:; norm=layer)               each layer standardised before it is mixed
    learned(all)                        a scalar mix (Peters et al. 2018), fitted with its head
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.layers import is_layer, layer_names, select_layers
from layerwise.widths import Widths, common_width, width_of

HOWS = ("sum", "mean", "max", "concat", "weighted", "learned")
NORMS = ("layer",)
_CALL = re.compile(r"([A-Za-z_]+)\s*(?:\((.*)\)|:(.*))", re.DOTALL)
_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).tiny)
_ROUNDING = 1e-13  # share of a float64 mean: a smaller deviation is the rounding error of a constant
_BLOCK = 1 << 20  # numbers processed at once


@dataclass(frozen=True, slots=True)
class Mix:
    """One vector made of many layers; `str(mix)` is its canonical mix string.

    `how` is `layer` (a single layer) or one of `HOWS`; `layers` are resolved names; `weights`, one per
    layer, belong to `weighted` only; `norm` is `None` or `layer`.
    """

    how: str
    layers: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    norm: str | None = None

    @property
    def coefficients(self) -> tuple[float, ...] | None:
        """The factor of each layer, if the mix is a weighted sum with fixed weights; else `None`."""
        if self.how in ("max", "concat", "learned"):
            return None
        return self.weights or (1 / len(self.layers) if self.how == "mean" else 1.0,) * len(self.layers)

    def out_width(self, widths: Widths) -> int:
        """Return the width of a mixed row, for layers of these widths.

        Raises:
            RequestError: layers of unequal width, which can only be concatenated.
        """
        if self.how == "concat":
            return sum(width_of(widths, name) for name in self.layers)
        return common_width(widths, self.layers)

    def __str__(self) -> str:
        inner = [",".join(self.layers)]
        if self.weights is not None:
            inner.append(",".join(repr(w).removesuffix(".0") for w in self.weights))
        if self.norm is not None:
            inner.append(f"norm={self.norm}")
        body = "; ".join(inner)
        return body if self.how == "layer" else f"{self.how}({body})"


@dataclass(frozen=True, slots=True, eq=False)
class LayerStats:
    """Mean and standard deviation of one layer over some rows, each float64 of shape (width,).

    Calling it standardises rows. A dimension that doesn't vary becomes 0, as it holds no information.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @property
    def scale(self) -> NDArray[np.float64]:
        """The factor of each dimension, (width,): 1 / std, and 0 for a dimension that doesn't vary."""
        varies = self.std >= np.maximum(_SMALLEST, _ROUNDING * np.abs(self.mean))
        return np.divide(1.0, self.std, out=np.zeros_like(self.std), where=varies)

    def __call__(self, values: F32) -> F32:
        """Return `values` (rows, width) standardised, as a new array of their type."""
        scale = self.scale
        with within_float32():
            out: F32 = values - self.mean.astype(values.dtype)
            out *= scale.astype(values.dtype)
        return out


@contextmanager
def within_float32() -> Iterator[None]:
    """Refuse to make infinity of finite numbers until the end of the block.

    Raises:
        RequestError: a product, a sum or a difference is too large.
    """
    try:
        with np.errstate(over="raise"):
            yield
    except FloatingPointError:
        raise beyond_float32() from None


def beyond_float32() -> RequestError:
    """Return the error for rows with numbers that are too large to compute with."""
    return RequestError(
        f"the rows contain numbers so large that mixing or standardising them exceeds float32 ({_LARGEST:.2g}); "
        "leave out the rows or the layers that contain them"
    )


def layer_stats(parts: Iterable[F32]) -> LayerStats:
    """Return mean and population standard deviation of the rows of all `parts`, each (rows, width).

    One pass, in float64, merging parts as Chan, Golub and LeVeque (1983) do. Without any row all are zeros.
    """
    count, mean, square = 0, np.zeros(0), np.zeros(0)
    for part in parts:
        if mean.shape != part.shape[1:]:
            mean, square = np.zeros(part.shape[1]), np.zeros(part.shape[1])
        if not len(part):
            continue
        part_mean = part.mean(axis=0, dtype=np.float64)
        delta, total = part_mean - mean, count + len(part)
        square += ((part - part_mean) ** 2).sum(axis=0) + delta**2 * (count * len(part) / total)
        mean = mean + delta * (len(part) / total)
        count = total
    return LayerStats(mean, np.sqrt(square / max(count, 1)))


def parse_mix(
    text: str | int | Mix, blocks: int, stored: Sequence[str] | None = None, widths: Widths | None = None
) -> Mix:
    """Return the mix of a mix string, with its layers resolved.

    Args:
        text: a mix string, a layer number, or a mix, which is checked against these layers.
        blocks: the number of blocks of the model, L.
        stored: the available layers, where these are fewer than the model's.
        widths: those of the available layers; None where they aren't known yet.

    Raises:
        RequestError: an invalid string, an unknown layer or option, weights of the wrong number, layers of unequal
            width that aren't concatenated; with an example.
    """
    available = tuple(stored) if stored is not None else layer_names(blocks)
    mix_string, text = str(text), str(text).strip()
    match = _CALL.fullmatch(text)
    how = match[1] if match else "layer"
    if match and how not in HOWS:
        raise _refuse(mix_string, f"no mix is called {how!r}; there are {', '.join(HOWS)}", "mean", available)
    body = (match[2] if match[2] is not None else match[3]) if match else text
    layers_text, *options = (part.strip() for part in body.split(";"))
    try:
        layers = select_layers(layers_text, blocks, stored, single=not match)
        mix = Mix(how, layers, *_options(options, how, len(layers)))
    except RequestError as error:
        raise _refuse(mix_string, str(error), how, available) from None
    if widths is not None:
        _check_widths(mix_string, mix, widths)
    return mix


def _check_widths(mix_string: str, mix: Mix, widths: Widths) -> None:
    try:
        mix.out_width(widths)
    except RequestError as error:
        example = f"concat({','.join(mix.layers)})"
        raise RequestError(f"{argument('mix')} {mix_string!r}: {error}; for example {example}") from None


def looks_like_mix(text: str) -> bool:
    """Return whether a string has the form of a mix string: `HOW(…)`, `HOW:…`, or a single layer.

    >>> looks_like_mix("mean:all"), looks_like_mix("value.-1"), looks_like_mix("sentiment.head")
    (True, True, False)
    """
    stripped = text.strip()
    match = _CALL.fullmatch(stripped)
    return match[1] in HOWS if match else is_layer(stripped)


def _options(options: Sequence[str], how: str, count: int) -> tuple[tuple[float, ...] | None, str | None]:
    weights: tuple[float, ...] | None = None
    norm: str | None = None
    for option in options:
        key, equals, value = (part.strip() for part in option.partition("="))
        if equals and key == "norm" and value in NORMS and norm is None:
            norm = value
        elif not equals and how == "weighted" and weights is None:
            weights = _weights(option, count)
        else:
            raise RequestError(f"option {option!r} is unknown or repeated; the only option is norm=layer")
    if how == "weighted" and weights is None:
        raise RequestError("the weights are missing; give one per layer, after a semicolon")
    return weights, norm


def _weights(text: str, count: int) -> tuple[float, ...]:
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise RequestError(f"{text!r} aren't weights; give numbers separated by commas") from None
    if not all(abs(weight) <= _LARGEST for weight in weights):
        raise RequestError(f"weights {text!r} aren't finite in float32; give smaller ones")
    if len(weights) != count:
        raise RequestError(
            f"{count_of(len(weights), 'weight')} for {count_of(count, 'layer')}; give one per layer"
        )
    return weights


def _refuse(text: str, why: str, how: str, available: Sequence[str]) -> RequestError:
    if how == "weighted":
        last_layers = available[-2:]
        example = f"weighted({','.join(last_layers)}; {','.join(['0.5'] * len(last_layers))})"
    else:
        example = available[-1] if how == "layer" else f"{how}(all)"
    return RequestError(f"{argument('mix')} {text!r}: {why}; for example {example}")


def apply_mix(
    mix: Mix,
    read: Callable[[str], F32],
    stats: Mapping[str, LayerStats] | None = None,
    widths: Widths | None = None,
    out: F32 | None = None,
) -> F32:
    """Return the mixed rows, (rows, width), or (rows, all widths) for `concat`, of the type of the layers read.

    Reads each layer once, in the order of the mix, and holds one at a time besides the result.

    Args:
        mix: the mix to compute.
        read: returns one layer, float32 (rows, width), by its name; its arrays aren't changed.
        stats: for `norm=layer`, the statistics to standardise with, such as those of training rows.
            By default those of the rows that are read, with a UserWarning.
        widths: those of the layers; without them `concat` holds all layers besides the result.
        out: an array for the result, which needs `widths` for `concat`; a new one by default.

    Raises:
        RequestError: for `learned`, whose weights are fitted with a head; numbers that mixed are beyond float32.
    """
    refuse_learned(mix)
    if mix.norm and stats is None:
        warn_of_stats(mix)
    mixer = Mixer(mix, widths, out)
    for name in mix.layers:
        # The array has no name here, so that it is freed before the next layer is read.
        mixer.add(name, read(name), stats[name] if stats is not None and mix.norm else None)
    return mixer.result()


class Mixer:
    """Mix layers that are added one at a time, in any order."""

    def __init__(self, mix: Mix, widths: Widths | None = None, out: F32 | None = None) -> None:
        """Begin a mix that isn't `learned`.

        Args:
            mix: the mix.
            widths: those of its layers; without them `concat` keeps all layers until `result`.
            out: an array for the result, which needs `widths` for `concat`; a new one by default.
        """
        self.mix, self._widths, self._out, self._is_empty = mix, widths, out, True
        self._kept: dict[str, F32] = {}

    def add(self, name: str, values: F32, stats: LayerStats | None = None) -> None:
        """Add the layer `name`, (rows, width).

        With `norm=layer` it is standardised first, by `stats`, or by the statistics of these rows.

        Raises:
            RequestError: numbers that mixed are beyond float32.
        """
        mix = self.mix
        if mix.norm and stats is None:
            stats = layer_stats(values[rows] for rows in block_slices(*values.shape))
        out = self._place(name, values)
        with within_float32():
            for rows in block_slices(*values.shape):
                block = stats(values[rows]) if mix.norm and stats is not None else values[rows]
                self._add_rows(name, out[rows], block)
        self._is_empty = False

    def _place(self, name: str, values: F32) -> F32:
        """Return where the rows of a layer go: a new array, all of the result, or the layer's columns of it."""
        mix, widths = self.mix, self._widths
        if mix.how == "concat" and widths is None:
            self._kept[name] = np.empty_like(values)
            return self._kept[name]
        if self._out is None:
            width = values.shape[1] if widths is None else mix.out_width(widths)
            self._out = np.empty((len(values), width), values.dtype)
        if mix.how != "concat" or widths is None:
            return self._out
        before = mix.layers[: mix.layers.index(name)]
        begin = sum(width_of(widths, layer) for layer in before)
        return self._out[:, begin : begin + values.shape[1]]

    def _add_rows(self, name: str, out: F32, values: F32) -> None:
        """Add some rows of a layer to the same rows of the result, or of its columns in the result."""
        mix = self.mix
        if mix.weights is not None:
            values = values * values.dtype.type(mix.weights[mix.layers.index(name)])
        if self._is_empty or mix.how == "concat":
            out[...] = values
        elif mix.how == "max":
            np.maximum(out, values, out=out)
        else:
            out += values

    def result(self) -> F32:
        """Return the mixed rows, after all layers of the mix were added."""
        if self._kept:
            return np.concatenate([self._kept[name] for name in self.mix.layers], axis=1)
        out = self._out
        assert out is not None  # a mix has at least one layer
        if self.mix.how == "mean":
            out /= len(self.mix.layers)
        return out


def refuse_learned(mix: Mix, use: str = "give the head in place of the mix string") -> None:
    """Reject a mix that has no fixed weights; `use` says how the mix of a head is used instead.

    Raises:
        RequestError: for `learned`, whose weights are fitted with a head.
    """
    if mix.how == "learned":
        raise RequestError(
            f"mix {str(mix)!r} is fitted with a head; train one with {argument('mix', str(mix))} and {use}, or "
            f"use fixed weights, such as mean({','.join(mix.layers)})"
        )


def warn_of_stats(mix: Mix) -> None:
    """Warn that `norm=layer` uses the statistics of the mixed rows themselves."""
    what = "each layer is standardised with the statistics of these rows, not of training rows"
    warnings.warn(f"mix {str(mix)!r}: {what}", UserWarning, stacklevel=4)


def block_slices(rows: int, width: int) -> Iterator[slice]:
    """Yield slices that divide `rows` rows of `width` numbers into blocks of a few MiB."""
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
