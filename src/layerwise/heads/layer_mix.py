"""A scikit-learn transformer that mixes concatenated layers."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from layerwise.errors import RequestError
from layerwise.layers import LayerSpec, depth, resolve_layers, site
from layerwise.mixes import (
    LayerStats,
    Mix,
    apply_mix,
    block_slices,
    layer_stats,
    parse_mix,
    refuse_learned,
)
from layerwise.states import dimension_names
from layerwise.widths import Widths, common_width, width_of

Floats = NDArray[Any]  # float32 or float64


class LayerMix(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Mix concatenated layers: X of shape (rows, layers * width) becomes (rows, width).

    X holds the layers one after another in the order of `layers`: `dataset.mix("concat(all)")` is such a matrix,
    and so is `states.stack().transpose(1, 0, 2).reshape(rows, -1)`. `concat` gives (rows, width * its layers).
    float32 stays float32; every other type becomes float64. `norm=layer` standardises each layer with mean
    and deviation of the rows passed to `fit`.

    Args:
        mix: a mix string, a layer number, or a mix; `learned` is refused, as it is fitted with its head.
        n_layers: the number of layers of the model, `emb` included: blocks + 1. When it is left out, X is one
            layer, and the mix must be a single layer.
        layers: the layers of the model that X holds, if it doesn't hold all.

    Attributes:
        mix_: the mix, its layers resolved.
        layers_: the names of the layers that X holds, `('emb', '1', …)`.
        width_: the width of a layer.
        stats_: mean and deviation per layer of the mix; `None` without `norm=layer`.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Example:
        >>> search = GridSearchCV(
        ...     make_pipeline(LayerMix(n_layers=7), LogisticRegression()),
        ...     {"layermix__mix": ["6", "mean(-4:)", "concat(all)"]},
        ... )
    """

    def __init__(
        self, mix: str | int | Mix = "-1", n_layers: int | None = None, *, layers: LayerSpec = "all"
    ) -> None:
        self.mix = mix
        self.n_layers = n_layers
        self.layers = layers

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the mix against the columns of X (rows, layers * width), and compute statistics; `y` is ignored.

        Raises:
            RequestError: a broken mix string, a missing layer, `learned`, or columns that can't be divided into
                layers of one width; a RequestError is a ValueError.
        """
        values = validate_data(self, X, dtype=[np.float64, np.float32])
        mix, layers = self._resolve()
        if values.shape[1] % len(layers):
            raise RequestError(
                f"X has {values.shape[1]} feature(s), which aren't {len(layers)} layers of one width; "
                f"give (rows, layers * width) with layers {', '.join(layers)} side by side, or set n_layers"
            )
        self.mix_, self.layers_, self.width_ = mix, layers, values.shape[1] // len(layers)
        self.stats_ = {name: self._stats(values, name) for name in mix.layers} if mix.norm else None
        return self

    def transform(self, X: Any) -> Floats:
        """Return the mixed rows of X (rows, layers * width): (rows, width), or more for `concat`."""
        check_is_fitted(self, "width_")
        values = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return apply_mix(self.mix_, lambda name: self._layer(values, name), self.stats_, self.width_)

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> NDArray[np.object_]:
        """Return the names of the mixed columns, such as `layer03_dim117`; see `mix_feature_names`.

        `input_features` is only checked: a mixed column comes from several columns, so their names aren't used.
        """
        check_is_fitted(self, "width_")
        if input_features is not None:
            self._check_names(list(input_features))
        return mix_feature_names(self.mix_, self.width_, self._blocks())

    def _blocks(self) -> int:
        return 0 if self.n_layers is None else self.n_layers - 1

    def _resolve(self) -> tuple[Mix, tuple[str, ...]]:
        """Return the mix and the layers of X."""
        count: Any = self.n_layers
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if count is not None and not (whole and count > 0):
            raise RequestError(f"n_layers={count!r} isn't a number of layers; give blocks + 1, such as 13")
        layers = resolve_layers(self.layers, self._blocks())
        mix = parse_mix(self.mix, self._blocks(), layers)
        refuse_learned(mix, "mix a dataset with it (dataset.mix(head)), or texts (LayerFeatures(mix=head))")
        if count is None and mix.how != "layer":
            raise RequestError(f"mix {str(self.mix)!r}: n_layers is missing; give the model's blocks + 1")
        return mix, layers

    def _layer(self, values: Floats, name: str) -> Floats:
        position = self.layers_.index(name)
        return values[:, position * self.width_ : (position + 1) * self.width_]

    def _stats(self, values: Floats, name: str) -> LayerStats:
        layer = self._layer(values, name)
        return layer_stats(layer[rows] for rows in block_slices(len(layer), self.width_))

    def _check_names(self, names: list[str]) -> None:
        fitted_names = getattr(self, "feature_names_in_", None)
        if fitted_names is not None and names != list(fitted_names):
            raise RequestError("input_features is not equal to feature_names_in_; leave it out")
        if len(names) != self.n_features_in_:
            raise RequestError(
                f"input_features should have length equal to number of features ({self.n_features_in_}), "
                f"got {len(names)}; give a name per column"
            )

    def __sklearn_tags__(self) -> Any:
        """Return the tags for scikit-learn: float32 and float64 are preserved."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def mix_feature_names(mix: Mix, widths: Widths, blocks: int) -> NDArray[np.object_]:
    """Return a name per column of a mix, an array of str of shape (mix.out_width(widths),).

    A column that comes from one layer (a single layer, or `concat`) is named `layer03_dim117`, that of a site
    `value03_dim117`; `emb` is `layer00`. A column mixed from several layers is named `mean(1,2,3)_dim117`, after the
    canonical mix string. Numbers are padded with zeros, so that the names of a layer's columns sort in the order of the
    columns: layers to two digits or as many as `blocks` has, dimensions to as many as the width less one has.
    """
    if mix.how in ("layer", "concat"):
        digits = max(2, len(str(blocks)))
        prefixes = {
            f"{site(name) or 'layer'}{depth(name):0{digits}}": width_of(widths, name) for name in mix.layers
        }
    else:
        prefixes = {str(mix): common_width(widths, mix.layers)}
    return np.array(
        [f"{prefix}_{dim}" for prefix, width in prefixes.items() for dim in dimension_names(width)],
        dtype=object,
    )
