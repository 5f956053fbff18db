"""Measures of each layer by itself, along the depth of the model: one number per layer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from layerwise.arguments import argument
from layerwise.geometry import shape
from layerwise.geometry.row_info import RowInfo
from layerwise.geometry.rows import RowArray, standardise
from layerwise.geometry.separation import class_separation
from layerwise.wording import Message

TEXTS = "Skean et al. 2025"
ETHAYARAJH = "Ethayarajh 2019"
TIMKEY = "Timkey and van Schijndel 2021"


@dataclass(frozen=True, slots=True)
class LayerMeasure:
    """A measure of one layer.

    Attributes:
        name, unit, source: as in `analysis.json`.
        of: function of the rows of a layer (n, d) and their texts, words and labels; NaN where undefined.
        note: what a reader must know before comparing numbers.
        floor: function of the same to what rows or classes without any relation give; `None` where there is no such value.
        floor_of: what gives the floor.
    """

    name: str
    unit: str
    source: str
    of: Callable[[RowArray, RowInfo], float]
    note: str | None = None
    floor: Callable[[RowArray, RowInfo], float] | None = None
    floor_of: Message | None = None


_BY_ROWS = Message("note.grows")
_UNRELATED = Message("note.floor.rows")


def measures(level: str, info: RowInfo, dimension: Callable[[RowArray], float] | None) -> list[LayerMeasure]:
    """Return the measures that apply to rows of a level: whole texts, or tokens and words within texts.

    Args:
        level: what a row stands for.
        info: texts, words and labels of the rows.
        dimension: function that returns the intrinsic dimension of rows; `None` where it isn't available.
    """
    depths = list(_ALWAYS)
    if dimension is not None:
        depths.append(
            LayerMeasure(
                "intrinsic_dimension",
                Message("unit.dimensions"),
                "Facco et al. 2017 (TwoNN)",
                lambda x, _: dimension(x),
            )
        )
    if level != "text":
        depths += _IN_TEXTS
    if info.words is not None:
        depths += _OF_WORDS
    if info.labels is not None:
        depths.append(_SEPARATION)
    return depths


def needs() -> dict[str, str]:
    """Return what the measures that don't apply to every dataset need, by the name of the measure."""
    level = f"rows of {argument('level', 'word')} or token"
    return {
        "intrinsic_dimension": "pip install 'layerwise[dimension]'",
        **{measure.name: level for measure in _IN_TEXTS},
        **{measure.name: f"{level} with their texts" for measure in _OF_WORDS},
        _SEPARATION.name: argument("label"),
    }


def _rogue(place: int) -> Callable[[RowArray, RowInfo], float]:
    def share(x: RowArray, info: RowInfo) -> float:
        shares = shape.rogue_shares(x, place)[1]
        return float(shares[place - 1]) if len(shares) >= place else float("nan")

    return share


def _classes_by_chance(x: RowArray, info: RowInfo) -> float:
    assert info.labels is not None
    labelled = info.labels[info.labels >= 0]
    return (len(np.unique(labelled)) - 1) / (len(labelled) - 1) if len(labelled) > 1 else float("nan")


def _unrelated(of: Callable[[RowArray, RowInfo], float]) -> Callable[[RowArray, RowInfo], float]:
    """Return a function to what a measure of texts gives if the rows of all texts are in random order."""

    def floor(x: RowArray, info: RowInfo) -> float:
        return of(x[np.random.default_rng(0).permutation(len(x))], info)

    return floor


def _self(x: RowArray, info: RowInfo) -> shape.Similarity:
    assert info.words is not None  # otherwise `measures` leaves this measure out
    return shape.self_similarity(x, info.words)


def _separation(x: RowArray, info: RowInfo) -> float:
    assert info.labels is not None
    labelled = info.labels >= 0
    return class_separation(x[labelled], info.labels[labelled])


_ALWAYS = (
    LayerMeasure("norm", Message("unit.length"), Message("source.norm"), lambda x, _: shape.norms(x).mean),
    LayerMeasure(
        "anisotropy",
        Message("unit.cosine.rows"),
        ETHAYARAJH,
        lambda x, _: shape.anisotropy(x),
        floor=lambda x, _: 0.0,
        floor_of=Message("note.floor.directions"),
    ),
    LayerMeasure(
        "anisotropy_standardised",
        Message("unit.cosine.rows"),
        TIMKEY,
        lambda x, _: shape.anisotropy(standardise(x)),
        Message("note.standardised"),
        floor=lambda x, _: -1 / (len(x) - 1) if len(x) > 1 else float("nan"),
        floor_of=_UNRELATED,
    ),
    *(
        LayerMeasure(
            f"rogue_share_{n}",
            Message("unit.cosine.share"),
            TIMKEY,
            _rogue(n),
            Message(f"note.rogue.{n}"),
            floor=lambda x, _: 1 / x.shape[1],
            floor_of=Message("note.floor.shares"),
        )
        for n in (1, 2, 3)
    ),
    LayerMeasure(
        "effective_rank",
        Message("unit.directions"),
        "Roy and Vetterli 2007",
        lambda x, _: shape.effective_rank(x),
        _BY_ROWS,
    ),
    LayerMeasure(
        "dataset_entropy",
        Message("unit.maximum"),
        TEXTS,
        lambda x, _: shape.dataset_entropy(x),
        Message("note.depends"),
    ),
)
_IN_TEXTS = (
    LayerMeasure(
        "intra_text_similarity",
        Message("unit.cosine.text"),
        ETHAYARAJH,
        lambda x, info: shape.intra_text_similarity(x, info.docs).mean,
        floor=_unrelated(lambda x, info: shape.intra_text_similarity(x, info.docs).mean),
        floor_of=_UNRELATED,
    ),
    LayerMeasure(
        "intra_text_similarity_adjusted",
        Message("unit.cosine.text.adjusted"),
        ETHAYARAJH,
        lambda x, info: shape.intra_text_similarity(x, info.docs).adjusted,
        floor=_unrelated(lambda x, info: shape.intra_text_similarity(x, info.docs).adjusted),
        floor_of=_UNRELATED,
    ),
    LayerMeasure(
        "curvature",
        Message("unit.radians"),
        "Hosseini and Fedorenko 2023; Skean et al. 2025",
        lambda x, info: shape.curvature(x, info.docs),
        floor=_unrelated(lambda x, info: shape.curvature(x, info.docs)),
        floor_of=_UNRELATED,
    ),
    LayerMeasure(
        "prompt_entropy",
        Message("unit.maximum"),
        TEXTS,
        lambda x, info: shape.prompt_entropy(x, info.docs),
        floor=_unrelated(lambda x, info: shape.prompt_entropy(x, info.docs)),
        floor_of=_UNRELATED,
    ),
)
_OF_WORDS = (
    LayerMeasure(
        "self_similarity",
        Message("unit.cosine.word"),
        ETHAYARAJH,
        lambda x, info: _self(x, info).mean,
        floor=lambda x, _: shape.anisotropy(x),
        floor_of=_UNRELATED,
    ),
    LayerMeasure(
        "self_similarity_adjusted",
        Message("unit.cosine.word.adjusted"),
        ETHAYARAJH,
        lambda x, info: _self(x, info).adjusted,
        floor=lambda x, _: 0.0,
        floor_of=_UNRELATED,
    ),
)
_SEPARATION = LayerMeasure(
    "class_separation",
    Message("unit.scatter"),
    Message("source.separation"),
    _separation,
    Message("note.separation"),
    floor=_classes_by_chance,
    floor_of=Message("note.floor.classes"),
)
