"""Options of the verbs, each written once: its default is that of Python and of the command line, its text the help.

A verb in `api` lists the same names as keyword parameters, so that an editor completes them, and hands them on as one of
these; `cli/flags.py` makes the flags. A test compares the three. Nothing heavy is imported here, as `layerwise -h`
reads all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from layerwise.choices import CLASS_WEIGHTS, DTYPES, FORMATS, HEAD_TYPES, LONG, POOLS, PRECISIONS

if TYPE_CHECKING:
    from layerwise.layers import LayerSpec

Kind = Literal["text", "path", "integer", "count", "number", "names", "counts", "repeated", "several"]
"""How a flag is read: a string · a path or name · a whole number · one of 0 or more · a number · names parted by commas ·
whole numbers parted by commas · a flag that may be repeated · a flag that takes several values."""


def option(
    default: Any, text: str, *, metavar: str | None = None, choices: Sequence[str] = (), kind: Kind = "text"
) -> Any:
    """Return a field with the help of its flag; a default that isn't `None` is added to it in brackets."""
    shown = "{" + ",".join(choices) + "}" if choices and metavar is None else metavar
    metadata = {"help": text, "metavar": shown, "choices": tuple(choices), "kind": kind}
    return field(default=default, metadata=metadata)


def part(options: Any, of: type) -> dict[str, Any]:
    """Return those of some options that a class of them holds, by name."""
    return {option.name: getattr(options, option.name) for option in fields(of)}


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a source of texts is read."""

    format: str = option("auto", "of the source", choices=FORMATS)
    text: str | Sequence[str] | None = option(
        None, "the column of the text (text); two, a,b, for pairs of texts", metavar="COL"
    )
    words: str | None = option(None, "the column of the words, for pre-split input", metavar="COL")
    id: str | None = option(None, "the column of your own ids", metavar="COL")
    columns: Sequence[str] | None = option(
        None, "names of columns, where the file has none", metavar="a,b,…", kind="names"
    )
    encoding: str = option("utf-8", "of the files", metavar="NAME")
    skip_bad: bool = option(False, "go on past bad records, and list them")
    limit: int | None = option(None, "read at most N records", metavar="N", kind="integer")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model it is."""

    model: Any = option("minilm", "minilm, a folder, or a Hugging Face id", metavar="MODEL", kind="path")


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded."""

    revision: str | None = option(None, "branch, tag or commit on the hub", metavar="NAME")
    device: str | None = option(None, "cpu, cuda, cuda:1 or mps (the fastest there is)", metavar="NAME")
    allow_pickle: bool = option(False, "load weights from a pickle, which can run code")
    trust_remote_code: bool = option(False, "run code that comes with the model")


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """What a row stands for."""

    level: str = option("text", "what a row stands for", choices=("token", "word", "text"))
    pool: str | None = option(None, "how tokens become a row (the model's own, or mean)", choices=POOLS)
    special_tokens: bool = option(True, "leave special tokens out of mean, max and sum of a text")


@dataclass(frozen=True, kw_only=True)
class ShowOptions(RowOptions, LoadOptions, ModelOptions):
    """What is shown of one text."""

    layers: LayerSpec = option("all", "all, emb, 8, -1, 1,6,12, 1:, -4:", metavar="LAYERS")


@dataclass(frozen=True, kw_only=True)
class PoolOptions(RowOptions):
    """What coarser rows stand for."""

    level: str = option("text", "what a row stands for", choices=("word", "text"))
    dtype: str | None = option(None, "the stored type (that of DATASET)", choices=DTYPES)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written in other people's formats."""

    to: str = option("parquet", "the format", choices=("parquet", "npy"))
    layers: LayerSpec = option("all", "all, emb, 8, -1, 1,6,12, 1:, -4:", metavar="LAYERS")
    mix: str | None = option(None, "a mix instead of layers, such as 'mean(-4:)'", metavar="MIX")


@dataclass(frozen=True, kw_only=True)
class BenchOptions(ModelOptions):
    """What is measured, and how often."""

    shape: str | None = option(
        None, "random weights in this shape instead of a model", choices=("bert-base",)
    )
    texts: int = option(256, "how many texts", metavar="N", kind="integer")
    rounds: int = option(3, "interleaved rounds; the median counts", metavar="N", kind="integer")
    device: str | None = option(None, "cpu, cuda, cuda:1 or mps (the fastest there is)", metavar="NAME")
    bf16: bool = option(True, "leave bf16 out")
    int8: bool = option(True, "leave int8 out")


@dataclass(frozen=True, kw_only=True)
class EncodeOptions(RowOptions):
    """What is encoded of each text."""

    layers: LayerSpec = option("all", "all, emb, 8, -1, 1,6,12, 1:, -4:", metavar="LAYERS")
    long: str = option("window", "what to do with texts that are longer than the model takes", choices=LONG)
    overlap: int | None = option(
        None, "tokens that windows share (a quarter of the window)", metavar="N", kind="integer"
    )
    max_length: int | None = option(
        None, "tokens that go through the model at once (as many as it takes)", metavar="N", kind="integer"
    )
    batch_tokens: int | None = option(
        None, "tokens of a batch (2048 on a CPU, 32768 on a GPU)", metavar="N", kind="integer"
    )


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(ReadOptions, EncodeOptions, LoadOptions, ModelOptions):
    """What `extract` makes of a source, and how."""

    precision: str = option("fp32", "of the computation; int8 on CPUs with VNNI only", choices=PRECISIONS)
    dtype: str = option("float16", "the stored type", choices=DTYPES)
    no_text: bool = option(
        False, "store no texts, words, token numbers or carried strings, and quote none in messages"
    )
    keep: Sequence[str] = option((), "with --no-text: columns to keep", metavar="COL", kind="several")
    shard_texts: int | None = option(None, "texts per shard (2048)", metavar="N", kind="integer")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a verb runs."""

    threads: int | None = option(
        None,
        "threads to compute with (as `layerwise env` says: what the machine grants)",
        metavar="N",
        kind="integer",
    )


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Who does the work of `extract`."""

    append: bool = option(False, "add what is new to a finished dataset, as new shards")
    workers: int | None = option(
        None,
        "processes that share the cores, or the GPUs (1; with --cluster ray one per GPU, or per machine)",
        metavar="N",
        kind="integer",
    )
    cluster: str | None = option(
        None, "workers on the machines of a Ray cluster (see docs/scale.md)", choices=("ray",)
    )


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How a head is trained."""

    groups: str | None = option(None, "rows with equal values stay on one side of a cut", metavar="COL")
    split: str | None = option(None, "your own split: a column with train, dev and test", metavar="COL")
    class_weight: str | None = option(
        None, "let all classes count alike, however rare they are", choices=CLASS_WEIGHTS
    )
    label_separator: str | None = option(
        None, "cuts a cell into several labels, such as ';' (classify)", metavar="C"
    )
    head_type: str = option("linear", "linear, or with a hidden layer", choices=HEAD_TYPES)
    hidden: int | None = option(
        None, "the width of the hidden layer of --head-type mlp (128)", metavar="N", kind="integer"
    )
    shared_hidden: int | None = option(
        None, "one hidden layer of N units for all tasks", metavar="N", kind="integer"
    )
    epochs: int | None = option(
        None, "the most epochs of the gradient loop (200)", metavar="N", kind="integer"
    )
    patience: int | None = option(
        None, "epochs without a better held-out loss before it stops (10)", metavar="N", kind="integer"
    )
    layer_dropout: float = option(
        0.0, "learned mixes: the chance that a layer is left out of a step", metavar="P", kind="number"
    )
    draws: int = option(
        20,
        "learned mixes: refits on resampled groups, for the intervals of the weights",
        metavar="N",
        kind="count",
    )
    seed: int = option(0, "of all that is random", metavar="N", kind="count")


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How candidates are compared."""

    groups: str | None = option(None, "texts with equal values stay on one side of a cut", metavar="COL")
    split: str | None = option(None, "your own split: a column with train, dev and test", metavar="COL")
    mix: Sequence[str] | None = option(
        None,
        "a mix to score besides the single layers, repeatable (mean(1:), mean(-4:), concat(-4:), concat(all), learned(all))",
        metavar="MIX",
        kind="repeated",
    )
    quick: bool = option(False, "1 × 5 folds instead of 5 × 5")
    seed: int = option(0, "of folds and samples", metavar="N", kind="count")
    max_rows: int = option(20_000, "rows that are looked at, drawn by whole texts", metavar="N", kind="count")
    random_model: bool = option(
        False, "score the best on the same architecture with random weights too, by three seeds"
    )


@dataclass(frozen=True, kw_only=True)
class AnalyzeOptions:
    """What is measured of layers, and on which rows."""

    label: str | None = option(
        None, "a column of classes: how far each layer tells them apart", metavar="COL"
    )
    against: Any = option(None, "a dataset of the same texts by another model", metavar="OTHER", kind="path")
    pairs: str | None = option(
        None,
        "the column whose equal values join two texts (part, for extract --text a,b): is a text's partner its nearest?",
        metavar="COL",
    )
    sides: str | None = option(
        None, "with --pairs, a column of two values (languages) that tells them apart", metavar="COL"
    )
    max_rows: int = option(2000, "rows that are looked at, drawn by whole texts", metavar="N", kind="count")
    seed: int = option(0, "of the sample", metavar="N", kind="count")
    measure: Sequence[str] | None = option(
        None, "only this measure, repeatable (all)", metavar="NAME", kind="repeated"
    )
    intervals: str = option(
        "quick",
        "where rows are a sample: quick has none of svcca, pwcca and procrustes, which take long",
        choices=("quick", "all", "none"),
    )


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What the page of a dataset shows."""

    probe: Any = option(None, "what `probe --out` wrote", metavar="DIR", kind="path")
    analysis: Any = option(None, "what `analyze --out` wrote", metavar="DIR", kind="path")
    lang: str = option("en", "the language of the page", choices=("en", "zh"))
    points: int = option(5000, "rows on the map, drawn by whole texts", metavar="N", kind="count")
    seed: int = option(0, "of what is drawn", metavar="N", kind="count")
    umap: bool = option(False, "lay the map out by UMAP and not by PCA")
    texts: Sequence[int] | None = option(
        None, "texts whose tokens are shown (a few)", metavar="N,…", kind="counts"
    )
    attention: bool = option(False, "with attention maps of these texts")


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """What is compared with plain transformers."""

    sample: int = option(32, "texts that are compared; 0 for none", metavar="N", kind="count")
    seed: int = option(0, "which texts these are", metavar="N", kind="count")


__all__ = [
    "AnalyzeOptions",
    "BenchOptions",
    "EncodeOptions",
    "ExportOptions",
    "ExtractOptions",
    "LoadOptions",
    "ModelOptions",
    "PageOptions",
    "PoolOptions",
    "ProbeOptions",
    "ReadOptions",
    "RowOptions",
    "RunOptions",
    "ShowOptions",
    "TrainOptions",
    "VerifyOptions",
    "WorkerOptions",
    "option",
    "part",
]
