"""Measure how fast several ways give every layer, in one run on the same texts."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise import encode
from layerwise._util.display import count_of
from layerwise._util.progress import Tracker
from layerwise._util.temporary import TemporaryFolder
from layerwise._util.threads import computing
from layerwise.arguments import argument
from layerwise.choices import whole_number
from layerwise.errors import RequestError
from layerwise.read import open_corpus
from layerwise.read.docstrings import paragraphs
from layerwise.results import Result, Table

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder

Encode = Callable[[Sequence[str]], Any]
"""A way to get every layer of some texts into memory."""
LOOP = "loop: one text at a time"
PADDED = "padded: batches of 32 in input order"
FP32 = "layerwise fp32"
BF16 = "layerwise bf16"
INT8 = "layerwise int8"
TEXT_FP32 = "layerwise fp32, text level"
TEXT_BF16 = "layerwise bf16, text level"
FIRST_LAYER = "layerwise fp32, layer 1 only"
SHAPES = {"bert-base": "bert", "llama-base": "llama", "qwen3-base": "qwen3"}
"""The families of the models with random weights."""
_ROUGH = {BF16: "bf16", TEXT_BF16: "bf16", INT8: "int8"}


@dataclass(frozen=True)
class Speed:
    """The speed of one way: median tokens per second, its ratio to that of the loop, and its share of the ceiling.

    The share counts only the products that the way needs: for `FIRST_LAYER` those of one block.
    """

    tokens_per_s: float
    against_loop: float
    of_ceiling: float


@dataclass(frozen=True, slots=True, repr=False)
class Benchmark(Result):
    """The speed of all ways of one run; returned by `lw.bench`.

    `to_pandas()` has a row per way: `way`, `tokens_per_s`, `against_loop`, `of_ceiling`; see `Speed`.

    Attributes:
        model: the name of the model, or the shape.
        texts, tokens: the number of texts, and of their tokens.
        rounds: the number of rounds; the median counts.
        ways: the speed of each way.
        ceilings: the GFLOP/s of a matrix product per precision, measured in every round, the best of them.
        flop_per_token: what the products of the model's linear layers need.
        left_out: which ways were not run, and why.
    """

    model: str
    texts: int
    tokens: int
    rounds: int
    ways: dict[str, Speed]
    ceilings: dict[str, float]
    flop_per_token: float
    left_out: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return what `layerwise bench --json` prints."""
        return asdict(self)

    def _lines(self) -> Sequence[str]:
        fastest = sorted(self.ways, key=lambda method: self.ways[method].tokens_per_s, reverse=True)
        rates = [
            f"{method}: {self.ways[method].tokens_per_s:,.0f} tokens/s, {self.ways[method].against_loop:.2f} × the loop"
            for method in fastest
        ]
        left_out = f"left out: {', '.join(self.left_out)}" if self.left_out else ""
        return [
            f"Benchmark: {self.model}, {count_of(self.texts, 'text')}, {count_of(self.tokens, 'token')}, median of "
            f"{count_of(self.rounds, 'round')}",
            *rates[:3],
            left_out,
        ]

    def _table(self) -> Table:
        names = ("tokens_per_s", "against_loop", "of_ceiling")
        return {
            "way": list(self.ways),
            **{name: [getattr(speed, name) for speed in self.ways.values()] for name in names},
        }


def check_request(model: str | Path, shape: str | None, texts: int, rounds: int) -> None:
    """Raise RequestError for what can't be measured; see `api.bench`."""
    whole_number("texts", texts, 1)
    whole_number("rounds", rounds, 1)
    if shape is not None and shape not in SHAPES:
        raise RequestError(f"{argument('shape', shape)} isn't known; there is {', '.join(SHAPES)}")
    if shape is not None and str(model) != "minilm":
        raise RequestError(
            f"{argument('shape', shape)} has random weights and {argument('model', model)} has trained ones; give one of them"
        )


def measure_speed(
    model: str | Path,
    shape: str | None,
    source: str | Path | Sequence[str | Path] | None,
    texts: int,
    rounds: int,
    *,
    device: str | None,
    bf16: bool,
    int8: bool,
    threads: int | None,
    track: Tracker,
) -> Benchmark:
    """Measure, in interleaved rounds, the ways to get every layer of every token into memory; see `api.bench`."""
    if shape is None:
        encode.checkpoint.find_checkpoint(model)  # before anything that takes long
    chosen = _texts(source, texts)
    with _torch_threads(threads), _model(model, shape) as name:
        preparing, racing = track.split(1, rounds)
        preparing.named("preparing the ways")
        field = _field(name, chosen, device, bf16, int8, threads)
        rates, ceilings = _race(field, chosen, rounds, racing)
    speeds = {}
    for method, rate in rates.items():
        ceiling = ceilings[_ROUGH.get(method, "fp32")]
        needed = field.flop * field.shares.get(method, 1.0)
        speeds[method] = Speed(rate, rate / rates[LOOP], rate * needed / 1e9 / ceiling)
    name = shape or str(model)
    return Benchmark(name, len(chosen), field.tokens, rounds, speeds, ceilings, field.flop, field.left_out)


@dataclass(frozen=True)
class _Field:
    """The ways that are compared, the share of the matrix products that some of them need, and what they work on."""

    ways: dict[str, Encode]
    shares: dict[str, float]
    left_out: dict[str, str]
    device: str
    tokens: int
    flop: float


def _race(
    field: _Field, texts: Sequence[str], rounds: int, track: Tracker
) -> tuple[dict[str, float], dict[str, float]]:
    """Return each way's median tokens per second, and the best matrix product per precision."""
    for run in field.ways.values():
        run(texts[:8])
    seconds: dict[str, list[float]] = {method: [] for method in field.ways}
    ceilings = dict.fromkeys(["fp32", *(_ROUGH[method] for method in field.ways if method in _ROUGH)], 0.0)
    measures = {
        precision: encode.int8.ceiling if precision == "int8" else encode.linear.ceiling
        for precision in ceilings
    }
    for _, step in track.each(range(rounds), ["round"] * rounds):
        for precision, measure in measures.items():
            ceilings[precision] = max(ceilings[precision], measure(precision, field.device))
        for (method, run), _ in step.each(list(field.ways.items()), field.ways):
            start = time.perf_counter()
            run(texts)
            seconds[method].append(time.perf_counter() - start)
    return {method: field.tokens / statistics.median(times) for method, times in seconds.items()}, ceilings


def _texts(source: str | Path | Sequence[str | Path] | None, number: int) -> list[str]:
    texts = [text for _, text in paragraphs()] if source is None else [e.text for e in open_corpus(source)]
    return random.Random(0).sample(texts, min(number, len(texts)))


@contextlib.contextmanager
def _model(model: str | Path, shape: str | None) -> Iterator[str]:
    """Yield the name of a model; one with random weights is written to a temporary folder first."""
    if shape is None:
        yield str(model)
        return
    with TemporaryFolder() as folder:
        encode.hf.saving.save_random(folder.path, encode.checkpoint.find_checkpoint("minilm"), SHAPES[shape])
        yield str(folder.path)


@contextlib.contextmanager
def _torch_threads(number: int | None) -> Iterator[None]:
    """Set torch's number of threads until the end of the block, as users of other libraries do."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _field(
    name: str, texts: Sequence[str], device: str | None, bf16: bool, int8: bool, threads: int | None
) -> _Field:
    encoder = encode.load.load_without_prompts(name, device=device)
    plain = encode.plain_loop.PlainLoop(encoder.checkpoint, encoder.device)
    left_out: dict[str, str] = {}
    ways: dict[str, Encode] = {
        LOOP: plain.one_by_one,
        PADDED: plain.padded,
        FP32: lambda ts: encoder.encode(ts, level="token", prompt=""),
        TEXT_FP32: lambda ts: encoder.encode(ts, prompt=""),
        FIRST_LAYER: lambda ts: encoder.encode(ts, layers="1", level="token", prompt=""),
    }
    if bf16:
        rough = encode.load.load_without_prompts(name, device=device, precision="bf16")
        ways[BF16] = lambda ts: rough.encode(ts, level="token", prompt="")
        ways[TEXT_BF16] = lambda ts: rough.encode(ts, prompt="")
    if int8 and encoder.device == "cpu" and encode.int8.refusal() is None:
        roughest = encode.load.load_without_prompts(name, device=device, precision="int8")
        ways[INT8] = lambda ts: roughest.encode(ts, level="token", prompt="")
    elif int8:
        left_out[INT8] = f"it {encode.int8.refusal()}" if encoder.device == "cpu" else "it runs on a CPU"
    ways |= {
        method: _by_threads(run, threads) for method, run in ways.items() if method not in (LOOP, PADDED)
    }
    for package, make in (("sentence_transformers", _sentence_transformers), ("flair", _flair)):
        if importlib.util.find_spec(package) is None:
            left_out[package] = "not installed"
            continue
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # their progress bars
                label, run = make(encoder)
        # Raised by a package that was made for other versions of its dependencies.
        except (ImportError, AttributeError, TypeError) as error:
            left_out[package] = f"installed, but it doesn't run with these versions: {error}"
        else:
            ways[label] = run
    tokens = int(
        encoder.encode(texts, layers="emb", batch_tokens=16384, prompt="").texts["tokens"].to_numpy().sum()
    )
    shares = {FIRST_LAYER: 1 / encoder.blocks}
    return _Field(ways, shares, left_out, encoder.device, tokens, plain.flop_per_token())


def _by_threads(run: Encode, threads: int | None) -> Encode:
    """Return a function that calls `run` with this number of threads."""

    def run_with_threads(texts: Sequence[str]) -> Any:
        with computing(threads):
            return run(texts)

    return run_with_threads


def _sentence_transformers(encoder: Encoder) -> tuple[str, Encode]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(encoder.checkpoint.folder), device=encoder.device)
    model.max_seq_length = encoder.max_length
    return "sentence-transformers: tokens of the last layer only", lambda texts: [
        vectors.cpu()
        for vectors in model.encode(
            list(texts), prompt="", output_value="token_embeddings", show_progress_bar=False
        )
    ]


def _flair(encoder: Encoder) -> tuple[str, Encode]:
    from flair.data import Sentence
    from flair.embeddings import TransformerWordEmbeddings

    model = TransformerWordEmbeddings(str(encoder.checkpoint.folder), layers="all", layer_mean=False)

    def run(texts: Sequence[str]) -> None:
        for begin in range(0, len(texts), 32):
            model.embed([Sentence(text) for text in texts[begin : begin + 32]])

    return 'flair: layers="all"', run
