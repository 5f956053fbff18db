"""A scikit-learn transformer that encodes texts and returns mixed rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from layerwise import encode
from layerwise.array_types import F32
from layerwise.errors import HeadError, ModelError, RequestError
from layerwise.fitted_mix import fitted_rows, refuse_head_options
from layerwise.heads.head_mix import HeadMix
from layerwise.heads.inputs import encode_rows, examples_of
from layerwise.heads.layer_mix import mix_feature_names
from layerwise.heads.predict import Head
from layerwise.heads.text_kind import kind_of
from layerwise.layers import LayerSpec, resolve_layers
from layerwise.mixes import LayerStats, Mix, parse_mix, refuse_learned
from layerwise.states import LayerStates, dimension_names
from layerwise.texts import listed

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder

_TEXTS = 4096  # texts encoded at a time: their layers stay in memory until they are mixed


class LayerFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Turn texts into features: each text becomes the mix of some layers of a pretrained encoder.

    Takes a list (or array, or column) of strings or of lists of words, and returns float32 (rows, width), or
    (rows, width * layers) for `concat`: the values of `encoder.encode(texts, …).mix(mix)`. The model runs up
    to the deepest layer of the mix and no further. `norm=layer` standardises with mean and deviation of the
    rows passed to `fit`. A search over many mixes encodes the texts again for each: for more than some hundred
    texts `lw.extract` them once, and search with `lw.LayerMix` over `dataset.mix("concat(all)")`.

    A row is a text at level `text`, as a pipeline with one label per text needs. At level `word` and `token`
    there are more rows than texts, in the order of the texts, and of words or tokens within a text, as
    `encoder.encode(texts, level=…).index` lists them: `y` then has a label per row, and cross-validation can't be
    used, because it splits lists of texts. A word of a pre-split text always gives one row.

    Args:
        model: a name or a folder, as for `lw.load_encoder`, or an encoder. A named model is loaded once
            per process and shared by all clones and candidates of a search, as an encoder is.
        layers: the layers that `all` in the mix stands for, and that it may name. Which of them are encoded
            depends only on the mix.
        mix: a mix string, a layer number, a mix, or a head (`lw.load_head`), which gives the vectors of its trained
            mix, standardised as in its training. A `learned` mix string is refused, as it is fitted with its head.
        level: the unit of a row: `text`, `word` or `token`; for a head that of its training.
        pool: how tokens become a row; the model's own at text level, else `mean`; for a head that of its training.
        options: more options of `Encoder.encode`, such as `{"max_length": 128, "special_tokens": False}`; for a head
            those of its training are used.
        task: the name of the task whose mix is used, for a head of several tasks.
        hidden: for a head with a hidden layer, give the output of this layer.

    Attributes:
        mix_: the mix, its layers resolved.
        width_, widths_, blocks_: the width of a layer, that of each layer of the mix, and the number of blocks of the model.
        stats_: mean and deviation per layer of the mix; `None` without `norm=layer`, and for a head.
        hashes_: SHA-256 of the model's weights, tokenizer and configuration; another model is refused.

    Example:
        >>> model = make_pipeline(LayerFeatures("minilm", mix="mean(-4:)"), LogisticRegression())
        >>> model.fit(texts, labels).predict(["A charming journey."])
    """

    stats_: dict[str, LayerStats] | None

    def __init__(
        self,
        model: str | Path | Encoder = "minilm",
        layers: LayerSpec = "all",
        mix: str | int | Mix | Head = "-1",
        level: str = "text",
        pool: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        task: str | None = None,
        hidden: bool = False,
    ) -> None:
        self.model = model
        self.layers = layers
        self.mix = mix
        self.level = level
        self.pool = pool
        self.options = options
        self.task = task
        self.hidden = hidden

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters against the model; encode X only if `norm=layer` needs statistics.

        Args:
            X: strings, or lists of words.
            y: ignored.

        Raises:
            RequestError: a mix, layer, level, pool or option that is invalid for the model, or no list of
                texts; a RequestError is a ValueError.
            HeadError: a head of another model, level or pool, or with other options.
            ModelError: a model that can't be loaded.
        """
        texts = listed(X)
        encoder = self._resolve(texts)
        if self._needs_stats:
            self.stats_ = self._encode(encoder, texts).mix_stats(self.mix_)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> F32:
        """Fit, and return the mixed rows of X; X is encoded once, and `norm=layer` keeps its layers in memory."""
        texts = listed(X)
        encoder = self._resolve(texts)
        if not self._needs_stats:
            return self._mixed(encoder, texts)
        states = self._encode(encoder, texts)
        self.stats_ = states.mix_stats(self.mix_)
        return states.mix(self.mix_, stats=self.stats_)

    def transform(self, X: Any) -> F32:
        """Return the mixed rows of texts: float32 (rows, width), or more for `concat`.

        Raises:
            RequestError: no list of texts.
            ModelError: a model that differs from the one in `fit`.
        """
        check_is_fitted(self, "mix_")
        encoder = self._encoder()
        if encoder.hashes != self.hashes_:
            raise ModelError(f"{encoder!r} isn't the model that was used in fit: its files differ; fit again")
        return self._mixed(encoder, listed(X))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns, such as `layer03_dim117` or `mean(1,2,3)_dim117`.

        `input_features` is ignored: texts have no columns.
        """
        check_is_fitted(self, "mix_")
        if self.head_mix_ is not None and self.hidden:
            names = dimension_names(self.head_mix_.width)
            return np.array([f"hidden_{name}" for name in names], dtype=np.object_)
        return mix_feature_names(self.mix_, self.widths_, self.blocks_)

    @property
    def _needs_stats(self) -> bool:
        """Whether the mix is standardised with statistics of X; a head has those of its training."""
        return self.head_mix_ is None and self.mix_.norm is not None

    def _resolve(self, texts: Sequence[Any]) -> Encoder:
        if self.level == "span":
            raise RequestError(
                "level 'span' needs spans, which a pipeline can't pass; use text, word or token"
            )
        if not texts:
            raise RequestError("there is no text to fit on; give at least one")
        encoder = self._encoder()
        self.head_mix_, self.stats_ = None, None
        if isinstance(self.mix, Head):
            self.head_mix_ = self._head_mix(self.mix, encoder)
            mix = self.head_mix_.task.mix
        else:
            refuse_head_options(self.task, self.hidden)
            mix = parse_mix(self.mix, encoder.blocks, self._available(encoder.blocks))
            refuse_learned(mix)
            encoder.request(mix.layers, self.level, self.pool, **(self.options or {}))
        self.mix_, self.widths_ = mix, encoder.widths_of(mix.layers)
        mix.out_width(self.widths_)
        self.width_, self.blocks_, self.hashes_ = encoder.width, encoder.blocks, encoder.hashes
        return encoder

    def _available(self, blocks: int) -> tuple[str, ...] | None:
        """Return the layers that may be mixed; None for all, sites too."""
        is_all = isinstance(self.layers, str) and self.layers == "all"
        return None if is_all else resolve_layers(self.layers, blocks)

    def _head_mix(self, head: Head, encoder: Encoder) -> HeadMix:
        """Return the mix of a head, after checking that the parameters agree with its training."""
        mix = head.fitted_mix(self.task, self.hidden)
        head.check_model(encoder.hashes, encoder.checkpoint.name)
        if mix.rows_per_vector > 1:
            raise RequestError(
                "the head mixes pairs of texts, and a pipeline takes single texts; give another head"
            )
        params = {"level": self.level, **(self.options or {}), **({"pool": self.pool} if self.pool else {})}
        for name, value in params.items():
            if head.rows.get(name, value) != value or name not in (*head.rows, "batch_tokens"):
                raise HeadError(
                    f"{name}={value!r} isn't what the head was trained with ({name} {head.rows.get(name)!r}); give that, or "
                    "another head"
                )
        if not (isinstance(self.layers, str) and self.layers == "all"):
            raise RequestError(f"layers={self.layers!r:.60} has no effect on the mix of a head; leave it out")
        return mix

    def _encoder(self) -> Encoder:
        if isinstance(self.model, encode.encoder.Encoder):
            return self.model
        if not isinstance(self.model, str | Path):
            raise RequestError(f"model {self.model!r:.60} isn't a model; give a name, a folder or an encoder")
        return encode.load.shared_encoder(self.model)

    def _encode(self, encoder: Encoder, texts: Sequence[Any]) -> LayerStates:
        return encoder.encode(texts, self.mix_.layers, self.level, self.pool, **(self.options or {}))

    def _mixed(self, encoder: Encoder, texts: Sequence[Any]) -> F32:
        parts = [texts[start : start + _TEXTS] for start in range(0, len(texts), _TEXTS)]
        mixed = [self._mixed_part(encoder, part) for part in parts]
        width = self.mix_.out_width(self.widths_) if self.head_mix_ is None else self.head_mix_.width
        empty = np.zeros((0, width), np.float32)
        return mixed[0] if len(mixed) == 1 else np.concatenate([empty, *mixed])

    def _mixed_part(self, encoder: Encoder, texts: Sequence[Any]) -> F32:
        if self.head_mix_ is None:
            return self._encode(encoder, texts).mix(self.mix_, stats=self.stats_)
        kind = replace(kind_of(self.head_mix_.head), pairs=None)
        examples = [example for record in examples_of(texts, kind) for example in record]
        batch_tokens = (self.options or {}).get("batch_tokens")
        states = encode_rows(self.head_mix_.head, encoder, examples, batch_tokens).checked()
        return fitted_rows(self.head_mix_, slice(0, states.rows), max(states.widths.values()), states.layer)

    def __sklearn_tags__(self) -> Any:
        """Return the tags for scikit-learn: the input is texts, the output float32."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.no_validation = True
        tags.transformer_tags.preserves_dtype = []
        return tags
