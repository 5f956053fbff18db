"""Options of the verbs, each written once: its default for Python and the command line, and the help of its flag.

A verb in `api` lists the same names as keyword parameters, so that an editor completes them, and passes them on in one
of these classes. `cli/flags.py` makes the flags. A test compares the three. Nothing heavy is imported here, because
`layerwise -h` reads all classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

from layerwise.arguments import argument
from layerwise.choices import (
    ALIGNMENT_FORMATS,
    ALIGNMENT_METHODS,
    CLASS_WEIGHTS,
    CUT_FORMATS,
    CUT_PRECISIONS,
    DTYPES,
    EXPORT_FORMATS,
    FORMATS,
    HEAD_TYPES,
    LANGS,
    LONG,
    PAIR_ENCODINGS,
    POOLS,
    PRECISIONS,
    RANKING_METRICS,
    WORD_SPLITS,
)
from layerwise.errors import RequestError

if TYPE_CHECKING:
    from layerwise.layers import LayerSpec

FlagKind = Literal["text", "path", "integer", "count", "number", "names", "counts", "repeated", "several"]
"""How the value of a flag is read: a string · a path or name · a whole number · a whole number of 0 or more · a number ·
names separated by commas · whole numbers separated by commas · a flag that may be repeated · a flag that takes several
values."""


_SPLIT = "your own split: column with the values train, dev and test"
_LABEL_SEPARATOR = "text between the labels of a cell that holds several, such as ';' (classify)"
_LABELS_FROM = (
    "file of labels, of any format or with a label per line, joined by the column id, or else by order; FILE:COL names the "
    "column (default: that of --label, or the only one besides id)"
)
_LAYERS = (
    "which layers: all, emb (embeddings), 8, -1 (the last), 1,6,12, or a slice: 1: (without emb), -4: (the last four); with "
    "a site also what attention or the feed-forward part adds, or the values of attention: attention.6, mlp.-1, value.1:"
)


def option(
    default: Any,
    text: str,
    *,
    metavar: str | None = None,
    choices: Sequence[str] = (),
    kind: FlagKind = "text",
) -> Any:
    """Return a field with the help of its flag; `cli/flags.py` adds the default to the help unless it is `None`."""
    placeholder = "{" + ",".join(choices) + "}" if choices and metavar is None else metavar
    metadata = {"help": text, "metavar": placeholder, "choices": tuple(choices), "kind": kind}
    return field(default=default, metadata=metadata)


def part(options: Any, of: type) -> dict[str, Any]:
    """Return the options that are fields of the class `of`, by name."""
    return {option.name: getattr(options, option.name) for option in fields(of)}


def check_types(options: type, values: Mapping[str, Any]) -> None:
    """Check that values have the types of their options, which flags have by themselves and parameters may not.

    Args:
        options: a class of this module.
        values: values by the names of options; other names are ignored.

    Raises:
        RequestError: with the first option whose value has another type.
    """
    for item in fields(options):
        value = values.get(item.name, item.default)
        problem = None if value is None and item.default is None else _wrong_type(item, value)
        if problem is not None:
            raise RequestError(f"{argument(item.name)} is {value!r:.60}, {problem}")


def _wrong_type(item: Field[Any], value: Any) -> str | None:
    """Return what is wrong with the type of a value, and what to give; `None` if nothing is, or any type is allowed."""
    kind, is_flag = item.metadata["kind"], isinstance(value, bool)
    if isinstance(item.default, bool):
        return None if is_flag or type(value).__name__ == "bool" else "no truth value; give True or False"
    if kind in ("integer", "count"):
        return None if isinstance(value, Integral) and not is_flag else "no whole number; give one"
    if kind == "number":
        return None if isinstance(value, Real) and not is_flag else "no number; give one"
    if item.type in ("str", "str | None"):
        return None if isinstance(value, str) else "no string; give one"
    if str(item.type).removeprefix("str | ") in ("Sequence[str]", "Sequence[str] | None"):
        is_list = isinstance(value, str) or (
            isinstance(value, Iterable)
            and hasattr(value, "__len__")
            and all(isinstance(v, str) for v in value)
        )
        return None if is_list else "no list of strings; give one"
    return None


class _Checked:
    """Options whose types are checked when they are made."""

    def __post_init__(self) -> None:
        check_types(type(self), vars(self))


@dataclass(frozen=True, kw_only=True)
class ReadOptions(_Checked):
    """How a source of texts is read."""

    format: str = option(
        "auto", "format of the source; auto: by the ending of the file name", choices=FORMATS
    )
    text: str | Sequence[str] | None = option(
        None,
        "column that holds the text (default: text); two columns, a,b, make two rows of each record; with --join one text "
        "of several columns",
        metavar="COL",
    )
    words: str | None = option(
        None, "column that holds the words, for text that is already split into words", metavar="COL"
    )
    id: str | None = option(None, "column that holds your own ids", metavar="COL")
    columns: Sequence[str] | None = option(
        None, "names of the columns, for files without a header", metavar="a,b,…", kind="names"
    )
    encoding: str = option("utf-8", "character encoding of the files", metavar="NAME")
    skip_bad: bool = option(False, "skip records that can't be read, and list them")
    limit: int | None = option(None, "read at most N records", metavar="N", kind="integer")
    separator: str | None = option(
        None, "character between the cells of a CSV file, such as ';' (default: a comma)", metavar="C"
    )
    na: Sequence[str] = option(
        (),
        "cells of CSV and TSV that say that a value is missing, such as NA; they are read as empty cells",
        metavar="VALUE",
        kind="several",
    )
    sentence_id: str | None = option(
        None,
        "column that numbers the sentences, for a source with a word per row (an empty cell: the sentence of the row above)",
        metavar="COL",
    )
    join: str | None = option(
        None, "make one text of the columns of --text, with this between them, such as ' '", metavar="TEXT"
    )
    classes: Sequence[str] | None = option(
        None,
        "names of integer classes, in order; where it isn't clear which column holds them, COL=a,b,…",
        metavar="a,b,…",
        kind="names",
    )
    document: str | None = option(
        None,
        "column that tells which document a text is part of (default: document, where there is one)",
        metavar="COL",
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model is used."""

    model: Any = option(
        "minilm",
        "text model: minilm, a folder (of transformers, or a TensorFlow checkpoint), or a Hugging Face id",
        metavar="MODEL",
        kind="path",
    )


@dataclass(frozen=True, kw_only=True)
class StoredModelOptions:
    """Where the model of a dataset or head is."""

    model: Any = option(None, "where the model is now (default: where it was)", metavar="MODEL", kind="path")


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded."""

    revision: str | None = option(
        None, "branch, tag or commit of the model on the Hugging Face hub", metavar="NAME"
    )
    device: str | None = option(
        None,
        "device to compute on: cpu, cuda, cuda:1 or mps (default: the fastest available)",
        metavar="NAME",
    )
    allow_pickle: bool = option(
        False, "allow weights in pickle files, which can run code when they are loaded"
    )
    trust_remote_code: bool = option(False, "allow Python code that comes with the model to run")
    adapter: Any = option(
        None,
        "folder of an adapter of peft, such as LoRA, to merge into the model (default: that of the dataset or head, if it "
        "has one)",
        metavar="FOLDER",
        kind="path",
    )


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """What a row stands for."""

    level: str = option("text", "what one row stands for", choices=("token", "word", "text"))
    pool: str | None = option(
        None,
        "how the vectors of tokens become one row (default: at text level the model's own pool; else mean)",
        choices=POOLS,
    )
    special_tokens: bool = option(
        True, "leave special tokens, such as [CLS], out of pools mean, max and sum at text level"
    )


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """What is put before each text."""

    prompt: str | None = option(
        None,
        "text to put before each text, such as 'query: '; '' for none (default: the default prompt of the model, if it has "
        "one)",
        metavar="TEXT",
    )
    prompt_name: str | None = option(
        None,
        "name of the model's prompt to put before each text; `layerwise info MODEL` lists them",
        metavar="NAME",
    )


@dataclass(frozen=True, kw_only=True)
class WordOptions:
    """What a word is."""

    word_split: str | None = option(
        None,
        "what a word of raw text is; chars: each character, as residues of proteins and bases of DNA; jieba: Chinese words, "
        "by the segmenter jieba (default: chars for FASTA, else a run of letters and digits, or a Chinese character)",
        choices=WORD_SPLITS,
    )


@dataclass(frozen=True, kw_only=True)
class ShowOptions(WordOptions, PromptOptions, RowOptions, LoadOptions, ModelOptions):
    """Which layers of one text are shown."""

    layers: LayerSpec = option("all", _LAYERS, metavar="LAYERS")


@dataclass(frozen=True, kw_only=True)
class PoolOptions(RowOptions):
    """How rows are pooled into coarser ones."""

    level: str = option("text", "what one row of the new dataset stands for", choices=("word", "text"))
    pool: str | None = option(None, "how rows of DATASET become one new row (default: mean)", choices=POOLS)
    dtype: str | None = option(None, "type of the stored numbers (default: that of DATASET)", choices=DTYPES)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is exported, and in which format."""

    to: str = option(
        "parquet",
        "format of the export; whole vectors: parquet, npy; small ones for search, with the transform for queries: binary, "
        "int8, pca:D (D dimensions), or an index of faiss or usearch",
        choices=EXPORT_FORMATS,
    )
    layers: LayerSpec = option("all", _LAYERS, metavar="LAYERS")
    mix: str | None = option(
        None,
        "export one mix of layers instead of single layers, such as 'mean(-4:)', or the trained mix of a head (its folder)",
        metavar="MIX|HEAD",
    )
    task: str | None = option(
        None, "for --mix HEAD with several tasks: name of the task whose mix is exported", metavar="NAME"
    )
    hidden: bool = option(False, "for --mix HEAD with a hidden layer: export the output of this layer")
    split: str | None = option(
        None,
        "for small vectors: column with the values train, dev and test; the mean and the components are those of the training "
        "rows, and recall is measured with the others",
        metavar="COL",
    )


@dataclass(frozen=True, kw_only=True)
class BenchOptions(ModelOptions):
    """What is measured, and how often."""

    shape: str | None = option(
        None,
        "use random weights of this shape (12 blocks, width 768) instead of a model",
        choices=("bert-base", "llama-base", "qwen3-base"),
    )
    texts: int = option(256, "number of texts to encode", metavar="N", kind="integer")
    rounds: int = option(3, "number of rounds; the median is reported", metavar="N", kind="integer")
    device: str | None = option(
        None,
        "device to compute on: cpu, cuda, cuda:1 or mps (default: the fastest available)",
        metavar="NAME",
    )
    bf16: bool = option(True, "don't measure bf16")
    int8: bool = option(True, "don't measure int8")


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How many tokens go through the model together."""

    batch_tokens: int | None = option(
        None,
        "largest number of tokens per batch (default: 2048 on a CPU, 32768 on CUDA, 8192 on MPS)",
        metavar="N",
        kind="integer",
    )


@dataclass(frozen=True, kw_only=True)
class EncodeOptions(WordOptions, PromptOptions, BatchOptions, RowOptions):
    """How each text is encoded, and which layers are kept."""

    layers: LayerSpec = option("all", _LAYERS, metavar="LAYERS")
    long: str = option(
        "window",
        "texts longer than --max-length: window: encode overlapping windows and join their rows; truncate: cut the text; "
        "error: stop",
        choices=LONG,
    )
    overlap: int | None = option(
        None,
        "number of tokens that neighbouring windows share (default: a quarter of --max-length)",
        metavar="N",
        kind="integer",
    )
    max_length: int | None = option(
        None,
        "largest number of tokens that the model reads at once, special tokens included (default: the limit of the model)",
        metavar="N",
        kind="integer",
    )


@dataclass(frozen=True, kw_only=True)
class HeadContextOptions:
    """Whether texts are encoded in the context that a head was trained with."""

    context: Any = option(
        None,
        "0: encode each text by itself, though the head was trained on texts with the context of their documents (default: as "
        "in the training)",
        metavar="0",
    )


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(ReadOptions, EncodeOptions, LoadOptions, ModelOptions):
    """How `extract` makes a dataset of a source."""

    context: Any = option(
        None,
        "encode each text with up to this many tokens of its neighbours in the same document before it, and after it; only "
        "its own tokens become rows (default: none)",
        metavar="BEFORE[,AFTER]",
    )
    pair_encoding: str = option(
        "separate",
        "with two columns in --text: separate: each text is encoded alone, in a row of its own; joint: both together, as the "
        "tokenizer joins pairs",
        choices=PAIR_ENCODINGS,
    )

    precision: str = option(
        "fp32", "precision of the computation; int8 only on CPUs with VNNI", choices=PRECISIONS
    )
    dtype: str = option("float16", "type of the stored numbers", choices=DTYPES)
    no_text: bool = option(
        False,
        "store no texts, words, token ids or other columns of strings, and quote none of them in messages",
    )
    keep: Sequence[str] = option(
        (), "with --no-text: columns of strings to store anyway", metavar="COL", kind="several"
    )
    redact: Any = option(
        None,
        "replace personal data by its kind, such as [PERSON], before the model sees it; what finds it: presidio, "
        "presidio:MODEL (of spaCy, or blank), a file of spans, a head for tags, or a token-classification model (its folder)",
        metavar="HOW",
        kind="path",
    )
    shard_texts: int | None = option(
        None,
        "number of texts per shard, a part of the dataset on disk (default: 2048)",
        metavar="N",
        kind="integer",
    )


@dataclass(frozen=True, kw_only=True)
class PredictOptions(HeadContextOptions, ReadOptions, BatchOptions, LoadOptions, StoredModelOptions):
    """How heads are applied to a source."""

    heads: Sequence[Any] = option(
        (), "further heads of the same model, applied in the same forward", metavar="HEAD", kind="several"
    )
    keep: Sequence[str] = option(
        (), "columns of the source to write beside each answer", metavar="COL", kind="several"
    )


@dataclass(frozen=True, kw_only=True)
class ServeOptions(BatchOptions, LoadOptions, _Checked):
    """What is served, and how long requests wait."""

    heads: Sequence[Any] = option((), "heads of these models to serve", metavar="HEAD", kind="several")
    transform: Any = option(
        None,
        "transform that export wrote beside small vectors; it is applied to every mix of its model that is asked for, and "
        "other mixes are refused",
        metavar="FILE",
        kind="path",
    )
    queue_tokens: int | None = option(
        None,
        "largest number of tokens in the queue of a model; further requests get 429 (default: as many as the model computes "
        "in 4 seconds)",
        metavar="N",
        kind="integer",
    )
    max_wait_ms: float = option(
        2.0,
        "milliseconds that a request waits for others to share its forward, at most",
        metavar="N",
        kind="number",
    )


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a verb runs."""

    threads: int | None = option(
        None,
        "number of CPU threads (default: the number that `layerwise env` shows)",
        metavar="N",
        kind="integer",
    )


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Which processes do the work of `extract`."""

    append: bool = option(False, "add new records to a finished dataset, as new shards")
    workers: int | None = option(
        None,
        "number of processes, which share the CPU cores or the GPUs (default: 1; with --cluster ray one per GPU, or one "
        "per machine without GPUs)",
        metavar="N",
        kind="integer",
    )
    cluster: str | None = option(
        None,
        'run the workers on the machines of a Ray cluster (see "Many processes, many machines" in the documentation)',
        choices=("ray",),
    )


@dataclass(frozen=True, kw_only=True)
class TrainOptions(_Checked):
    """How a head is trained."""

    mix_from: Any = option(
        None,
        "use the mix that `layerwise probe --out` advised: the best one",
        metavar="PROBE",
        kind="path",
    )
    groups: str | None = option(
        None,
        "column; rows with equal values are never split between training and held-out rows (default: documents, where there "
        "are ten or more)",
        metavar="COL",
    )
    split: str | None = option(None, _SPLIT, metavar="COL")
    class_weight: str | None = option(
        None, "balanced: weight rows so that every class has the same total weight", choices=CLASS_WEIGHTS
    )
    label_separator: str | None = option(None, _LABEL_SEPARATOR, metavar="C")
    labels_from: Any = option(None, _LABELS_FROM, metavar="FILE[:COL]", kind="path")
    head_type: str = option(
        "linear", "kind of head: linear, or mlp with one hidden layer", choices=HEAD_TYPES
    )
    hidden: int | None = option(
        None, "width of the hidden layer of --head-type mlp (default: 128)", metavar="N", kind="integer"
    )
    shared_hidden: int | None = option(
        None, "one hidden layer of N units, shared by all tasks", metavar="N", kind="integer"
    )
    epochs: int | None = option(
        None, "largest number of epochs of the gradient loop (default: 200)", metavar="N", kind="integer"
    )
    patience: int | None = option(
        None,
        "stop the gradient loop after N epochs without a lower held-out loss (default: 10)",
        metavar="N",
        kind="integer",
    )
    layer_dropout: float = option(
        0.0,
        "learned mixes: probability that a layer is left out of a training step",
        metavar="P",
        kind="number",
    )
    draws: int = option(
        20,
        "learned mixes: number of refits on resampled groups, for 95% intervals of the weights",
        metavar="N",
        kind="count",
    )
    private: float | None = option(
        None,
        "train with differential privacy: the largest ε by which the head may give away that a text was replaced; needs "
        "--delta (classify, linear heads on a fixed mix)",
        metavar="EPSILON",
        kind="number",
    )
    delta: float | None = option(
        None,
        "with --private: δ, the probability that the bound of ε fails; take it far below 1 / texts",
        metavar="D",
        kind="number",
    )
    public: Any = option(
        None,
        "with --private: dataset of public texts, whose means and deviations standardise the private rows, and whose labels "
        "name the classes (default: rows as they are)",
        metavar="DATASET",
        kind="path",
    )
    seed: int | None = option(None, "seed of all random choices (default: 0)", metavar="N", kind="count")


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How candidates are compared."""

    groups: str | None = option(
        None,
        "column; texts with equal values are never split between training and test (default: documents, where there are ten "
        "or more)",
        metavar="COL",
    )
    split: str | None = option(None, _SPLIT, metavar="COL")
    centre: str | None = option(
        None,
        "column, such as the language: subtract the mean of all rows with the same value, test rows included, from each layer",
        metavar="COL",
    )
    label_separator: str | None = option(None, _LABEL_SEPARATOR, metavar="C")
    labels_from: Any = option(None, _LABELS_FROM, metavar="FILE[:COL]", kind="path")
    metric: str | None = option(
        None,
        "metric of all scores, by which C is chosen and candidates are compared (default: accuracy for classes, micro_f1 for "
        "several labels per row, r2 for numbers, span_f1 for tags)",
        choices=RANKING_METRICS,
    )
    class_weight: str | None = option(
        None, "balanced: weight rows so that every class has the same total weight", choices=CLASS_WEIGHTS
    )
    mix: Sequence[str] | None = option(
        None,
        "mix to score besides the single layers; repeat the flag for several (default: mean(1:), mean(-4:), concat(-4:), "
        "concat(all), learned(all))",
        metavar="MIX",
        kind="repeated",
    )
    quick: bool = option(False, "1 × 5 folds of cross-validation instead of 5 × 5, and one online code")
    no_codelength: bool = option(False, "leave out the online codelength")
    seed: int = option(0, "seed of folds and samples", metavar="N", kind="count")
    max_rows: int = option(
        20_000, "largest number of rows to use; whole texts are sampled", metavar="N", kind="count"
    )
    random_model: bool = option(
        False, "also score the best candidate on the same architecture with random weights, for three seeds"
    )
    head_type: str = option(
        "linear",
        "mlp: put the best mix also under a small network with one hidden layer",
        choices=HEAD_TYPES,
    )
    vectors: Any = option(
        None,
        "static word vectors as a further baseline: a file in the text format of word2vec, GloVe or fastText",
        metavar="FILE",
        kind="path",
    )
    expected_layer: bool = option(
        False, "also compute the layer at which the label is resolved, from learned mixes of the first layers"
    )
    lang: str = option("en", "language of the advice, the tables and the figures", choices=LANGS)


@dataclass(frozen=True, kw_only=True)
class AnalyzeOptions:
    """What is measured, and on which rows."""

    label: str | None = option(
        None, "column of classes: measure how well each layer separates them", metavar="COL"
    )
    labels_from: Any = option(None, _LABELS_FROM, metavar="FILE[:COL]", kind="path")
    against: Any = option(
        None,
        "second dataset of the same texts, for example of another model: compare layers of the same name",
        metavar="OTHER",
        kind="path",
    )
    pairs: str | None = option(
        None,
        "column with the same value in the two texts of a pair: measure how often the partner of a text is its nearest "
        "neighbour (for datasets of extract --text a,b: --pairs part)",
        metavar="COL",
    )
    sides: str | None = option(
        None,
        "with --pairs: column with the side of each text, such as its language; two values or more",
        metavar="COL",
    )
    max_rows: int = option(
        2000, "largest number of rows to measure; whole texts are sampled", metavar="N", kind="count"
    )
    seed: int = option(0, "seed of the sample", metavar="N", kind="count")
    measure: Sequence[str] | None = option(
        None,
        "compute only this measure, or those with this word in their names, such as retrieval or cka; repeat the flag for "
        "several (default: all but leakage)",
        metavar="NAME",
        kind="repeated",
    )
    source: Any = option(
        None,
        "for leakage: the texts that DATASET was made from, if it stores none; they are read anew, and nothing of them is "
        "stored",
        metavar="SOURCE",
        kind="path",
    )
    intervals: str = option(
        "quick",
        "95% intervals, computed when rows are sampled: quick: for all measures but svcca, pwcca and procrustes, which take "
        "long; all: for these too; none: no intervals",
        choices=("quick", "all", "none"),
    )
    lang: str = option("en", "language of the advice, the table and the figures", choices=LANGS)


@dataclass(frozen=True, kw_only=True)
class AlignOptions(BatchOptions, LoadOptions, ModelOptions):
    """How the words of parallel texts are aligned."""

    text: str | Sequence[str] | None = option(
        None, "two columns of a table that hold the sides", metavar="A,B"
    )
    encoding: str = option("utf-8", "character encoding of the files", metavar="NAME")
    raw: bool = option(
        False,
        "split sentences into words as extract does: runs of letters and digits, CJK characters, other visible characters "
        "(without it, words stand between blanks)",
    )
    layers: LayerSpec = option("all", _LAYERS, metavar="LAYERS")
    method: str | Sequence[str] = option(
        (),
        "argmax: tokens that are each other's nearest; itermax: and once more among those that are left; match: the best "
        "matching as a whole; softmax: probabilities in both directions; or several (default: argmax)",
        metavar="{" + ",".join(ALIGNMENT_METHODS) + "}",
        kind="several",
    )
    centre: bool = option(False, "subtract the mean of all tokens of each side first")
    gold: Any = option(
        None,
        "gold links, a line per sentence pair: 3-4 sure, 3p4 possible; scores every layer and method",
        metavar="FILE",
        kind="path",
    )
    gold_base: int = option(0, "number of the first word in --gold, 0 or 1", metavar="{0,1}", kind="count")
    to: str = option(
        "jsonl",
        "format of --out: jsonl, or pharaoh (0-0 1-2), which has room for one layer and one method",
        choices=ALIGNMENT_FORMATS,
    )
    seed: int = option(0, "seed of the halves for the advice, and of intervals", metavar="N", kind="count")


@dataclass(frozen=True, kw_only=True)
class CutOptions(LoadOptions):
    """Where a model is cut, and what is written."""

    at: LayerSpec | None = option(
        None,
        "layer that the smaller model ends at: 4, -2, or emb for the embeddings alone (default with --drop: the last; with --mix "
        "or --head: the deepest that they need)",
        metavar="LAYER",
    )
    drop: LayerSpec | None = option(
        None, "blocks to leave out, such as 3,4; with --probe also how much the score falls", metavar="K,…"
    )
    to: str = option("folder", "what is written: a folder of transformers, or ONNX", choices=CUT_FORMATS)
    mix: str | None = option(
        None, "with --to onnx: one output, the vector of a text by this mix of layers", metavar="MIX"
    )
    head: Any = option(
        None, "with --to onnx: the scores of this head (its folder) as output", metavar="HEAD", kind="path"
    )
    precision: str = option("fp32", "with --to onnx: type of the weights", choices=CUT_PRECISIONS)
    static: bool = option(
        False, "write a table of token vectors of the layer, as a folder of model2vec, instead of a model"
    )
    table: bool = option(
        False, "measure size, parameters and speed of the model cut at each layer, on this machine"
    )
    probe: Any = option(
        None,
        "folder that `layerwise probe --out` wrote: its scores in the table of --table, or its label for --drop",
        metavar="PROBE",
        kind="path",
    )


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What the page of a dataset shows."""

    probe: Any = option(None, "folder that `layerwise probe --out` wrote", metavar="DIR", kind="path")
    analysis: Any = option(None, "folder that `layerwise analyze --out` wrote", metavar="DIR", kind="path")
    links: Any = option(
        None,
        "file that `layerwise align --out` wrote: show the first sentence pairs with their links",
        metavar="FILE",
        kind="path",
    )
    costs: Any = option(
        None,
        "file that `layerwise cut --table --out` wrote: show what the model costs when it is cut at each layer",
        metavar="FILE",
        kind="path",
    )
    lang: str = option("en", "language of the page", choices=LANGS)
    points: int = option(
        5000, "largest number of rows on the map; whole texts are sampled", metavar="N", kind="count"
    )
    seed: int = option(0, "seed of the sample, and of UMAP", metavar="N", kind="count")
    labels_from: Any = option(
        None,
        "file of labels that colour the points, of any format or with a label per line, joined by the column id, or else by "
        "order; FILE:COL names the column (default: the only one besides id)",
        metavar="FILE[:COL]",
        kind="path",
    )
    umap: bool = option(False, "place the points of the map by UMAP instead of PCA")
    texts: Sequence[int] | None = option(
        None,
        "numbers of the texts whose tokens are shown, counted from 0 (default: a few)",
        metavar="N,…",
        kind="counts",
    )
    attention: bool = option(False, "add attention maps of the texts whose tokens are shown")


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Which texts are compared with plain transformers."""

    sample: int = option(
        32, "number of texts to compare with plain transformers; 0: none", metavar="N", kind="count"
    )
    seed: int = option(0, "seed of the sample", metavar="N", kind="count")


__all__ = [
    "AlignOptions",
    "AnalyzeOptions",
    "BatchOptions",
    "BenchOptions",
    "CutOptions",
    "EncodeOptions",
    "ExportOptions",
    "ExtractOptions",
    "HeadContextOptions",
    "LoadOptions",
    "ModelOptions",
    "PageOptions",
    "PoolOptions",
    "PredictOptions",
    "ProbeOptions",
    "PromptOptions",
    "ReadOptions",
    "RowOptions",
    "RunOptions",
    "ServeOptions",
    "ShowOptions",
    "StoredModelOptions",
    "TrainOptions",
    "VerifyOptions",
    "WordOptions",
    "WorkerOptions",
    "check_types",
    "option",
    "part",
]
