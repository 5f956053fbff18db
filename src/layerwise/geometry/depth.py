"""What is measured of each layer by itself, along the depth of the model: one number per layer."""

from collections.abc import Callable
from dataclasses import dataclass

from layerwise.geometry import shape
from layerwise.geometry.row_info import About
from layerwise.geometry.separation import class_separation
from layerwise.geometry.shape import Rows

TEXTS = "Skean et al. 2025"
ETHAYARAJH = "Ethayarajh 2019"
TIMKEY = "Timkey and van Schijndel 2021"


@dataclass(frozen=True, slots=True)
class Depth:
    """A measure of one layer.

    Attributes:
        name, unit, source: as in `analysis.json`.
        of: from the rows of a layer (n, d), and what is known of them, to the number; NaN where undefined.
        note: what to know before comparing.
    """

    name: str
    unit: str
    source: str
    of: Callable[[Rows, About], float]
    note: str | None = None


_BY_ROWS = "Grows with the number of rows; compare only among as many."


def measures(level: str, about: About, dimension: Callable[[Rows], float] | None) -> list[Depth]:
    """Return the measures that suit rows of a level: of texts as wholes, or of tokens and words in texts.

    Args:
        level: what a row stands for.
        about: what is known of the rows.
        dimension: the intrinsic dimension of rows; `None` where nothing is at hand that knows it.
    """
    found = list(_ALWAYS)
    if dimension is not None:
        found.append(
            Depth("intrinsic_dimension", "dimensions", "Facco et al. 2017 (TwoNN)", lambda x, _: dimension(x))
        )
    if level != "text":
        found += _IN_TEXTS
    if about.words is not None:
        found += _OF_WORDS
    if about.labels is not None:
        found.append(_SEPARATION)
    return found


def _rogue(place: int) -> Callable[[Rows, About], float]:
    def share(x: Rows, about: About) -> float:
        shares = shape.rogue_shares(x, place)[1]
        return float(shares[place - 1]) if len(shares) >= place else float("nan")

    return share


def _self(x: Rows, about: About) -> shape.Similarity:
    assert about.words is not None  # else the measure isn't among those asked for
    return shape.self_similarity(x, about.words)


def _separation(x: Rows, about: About) -> float:
    assert about.labels is not None
    told = about.labels >= 0
    return class_separation(x[told], about.labels[told])


_ALWAYS = (
    Depth("norm", "length of a vector", "mean Euclidean length", lambda x, _: shape.norms(x).mean),
    Depth("anisotropy", "mean cosine of two rows", ETHAYARAJH, lambda x, _: shape.anisotropy(x)),
    Depth(
        "anisotropy_standardised",
        "mean cosine of two rows",
        TIMKEY,
        lambda x, _: shape.anisotropy(shape.standardise(x)),
        "Each dimension with mean 0 and deviation 1.",
    ),
    *(
        Depth(
            f"rogue_share_{n}",
            "share of the mean cosine",
            TIMKEY,
            _rogue(n),
            f"Of the dimension in place {n}.",
        )
        for n in (1, 2, 3)
    ),
    Depth(
        "effective_rank",
        "directions",
        "Roy and Vetterli 2007",
        lambda x, _: shape.effective_rank(x),
        _BY_ROWS,
    ),
    Depth(
        "dataset_entropy",
        "share of the most there can be",
        TEXTS,
        lambda x, _: shape.dataset_entropy(x),
        "Hangs on the number of rows; compare only among as many.",
    ),
)
_IN_TEXTS = (
    Depth(
        "intra_text_similarity",
        "mean cosine with the text's mean",
        ETHAYARAJH,
        lambda x, about: shape.intra_text_similarity(x, about.docs).mean,
    ),
    Depth(
        "intra_text_similarity_adjusted",
        "mean cosine with the text's mean, less anisotropy",
        ETHAYARAJH,
        lambda x, about: shape.intra_text_similarity(x, about.docs).adjusted,
    ),
    Depth(
        "curvature",
        "radians",
        "Hosseini and Fedorenko 2023; Skean et al. 2025",
        lambda x, about: shape.curvature(x, about.docs),
    ),
    Depth(
        "prompt_entropy",
        "share of the most there can be",
        TEXTS,
        lambda x, about: shape.prompt_entropy(x, about.docs),
    ),
)
_OF_WORDS = (
    Depth(
        "self_similarity", "mean cosine of two occurrences", ETHAYARAJH, lambda x, about: _self(x, about).mean
    ),
    Depth(
        "self_similarity_adjusted",
        "mean cosine of two occurrences, less anisotropy",
        ETHAYARAJH,
        lambda x, about: _self(x, about).adjusted,
    ),
)
_SEPARATION = Depth(
    "class_separation",
    "share of scatter between classes",
    "trace of between-class over total scatter, standardised",
    _separation,
    "C classes that mean nothing give about (C − 1) / (n − 1).",
)
