"""Every layer of 256 paragraphs of documentation on BERT-base shape: layerwise against other libraries, on the CPU.

All ways tokenise, cut texts at 512 tokens and leave numpy arrays in memory; OpenVINO gets as many threads as
torch. Then how far those that round are from plain forwards of one text, on these weights and on minilm's.

    pip install openvino nncf
    python benchmarks/others.py --flair FOLDER/bin/python

What isn't installed is left out. flair 0.15 needs transformers < 5, and so an environment of its own.
"""

import argparse
import contextlib
import io
import logging
import statistics
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from common import documentation, finish, heading, interleaved, ratio, show
from foreign import (
    LOOP,
    OPENVINO_INT8,
    PACKAGES,
    Batches,
    Flair,
    Layers,
    Way,
    installed,
    openvino_ways,
    plain_ways,
    sentence_transformers_ways,
)
from history import Figure

import layerwise as lw
from layerwise.encode import int8
from layerwise.encode.checkpoint import find_checkpoint
from layerwise.encode.encoder import Encoder
from layerwise.encode.hf import saving
from layerwise.encode.plain_loop import PlainLoop

TEXTS, ROUNDS, COMPARED, CALIBRATING = 256, 3, 24, 300
OURS_INT8 = "layerwise int8"


def our_ways(name: str, first: Encoder) -> dict[str, Way]:
    """Return layerwise in every precision that this processor has."""

    def way(encoder: Encoder) -> Way:
        def run(texts: Sequence[str]) -> lw.LayerStates:
            return encoder.encode(texts, level="token", long="truncate")

        def states(texts: Sequence[str]) -> list[Layers]:
            found = run(texts)
            ends = np.cumsum(found.texts["tokens"].to_numpy())[:-1]
            split = [np.split(found.layer(layer), ends) for layer in found.layers]
            return [list(layers) for layers in zip(*split, strict=True)]

        return Way(run, states)

    names = ("bf16", "int8") if int8.available() else ("bf16",)
    rough = {precision: lw.load_encoder(name, device="cpu", precision=precision) for precision in names}
    return {f"layerwise {precision}": way(encoder) for precision, encoder in {"fp32": first, **rough}.items()}


def rounding_ways(
    name: str, encoder: Encoder, batches: Batches, calibrating: Sequence[str]
) -> dict[str, Way]:
    """Return the ways whose error is told: OpenVINO's where it is installed, and ours."""
    found = openvino_ways(batches, calibrating) if "openvino" in installed() else {}
    return found | our_ways(name, encoder)


def errors(way: Way, texts: Sequence[str], expected: Sequence[Layers]) -> tuple[str, str, str]:
    """Return how far a way is off: the relative error, the layer that it is of, and the least cosine.

    The error is the mean over all tokens of |a - b| / |b|, of the layer where it is largest; the cosine that
    of a text's mean vector with the right one, the least of all texts and layers.
    """
    assert way.states is not None
    got = way.states(texts)
    norm, off, cosines = np.linalg.norm, [], []
    for number in range(len(expected[0])):
        a, b = ([text[number].astype(np.float64) for text in states] for states in (got, expected))
        right = np.concatenate(b)
        off.append(float((norm(np.concatenate(a) - right, axis=1) / norm(right, axis=1)).mean()))
        means = [(one.mean(axis=0), other.mean(axis=0)) for one, other in zip(a, b, strict=True)]
        cosines += [float(one @ other / norm(one) / norm(other)) for one, other in means]
    return f"{max(off):.1e}", str(int(np.argmax(off)) or "emb"), f"{min(cosines):.5f}"


def plain_states(encoder: Encoder, texts: Sequence[str]) -> list[Layers]:
    """Return what transformers gives in fp32, one text at a time."""
    plain = PlainLoop(encoder.checkpoint, "cpu")
    return [[layer[0] for layer in layers] for layers in plain.one_by_one(texts)]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars, logs and warnings; errors still come through."""
    logging.disable(logging.WARNING)
    silent = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(silent),
            contextlib.redirect_stderr(silent),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def race(texts: Sequence[str], calibrating: Sequence[str], rounds: int, flair: str | None) -> list[Figure]:
    """Measure every way on BERT-base shape, and print; return its speed against the loop's."""
    few = texts[:COMPARED]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="layerwise-bench-"))
        stack.enter_context(quiet())
        saving.save_random(Path(folder), find_checkpoint("minilm"))
        encoder = lw.load_encoder(folder, device="cpu")
        batches = Batches(encoder)
        ways = plain_ways(encoder, batches)
        if "sentence-transformers" in installed():
            ways |= sentence_transformers_ways(encoder)
        if flair is not None:
            other = Flair(flair, folder, texts)
            stack.callback(other.close)
            ways['flair: layers="all", words by their first token'] = Way(other.run)
        ways |= rounding_ways(folder, encoder, batches, calibrating)
        seconds = interleaved({label: partial(way.run, texts) for label, way in ways.items()}, rounds)
        expected = plain_states(encoder, few)
        off = {label: errors(way, few, expected) for label, way in ways.items() if way.states is not None}
        tokens, padded = batches.count(texts)
    if flair is not None:
        print(other.versions)
    print(
        f"{len(texts)} texts, {tokens:,} tokens, median of {rounds} interleaved rounds; "
        f"of batches by length {1 - tokens / padded:.0%} is padding"
    )
    rows = [("way", "tokens/s", "against the loop", "relative error", "in layer", "least cosine")]
    for label, taken in seconds.items():
        speed = f"{tokens / statistics.median(taken):,.0f}"
        rows.append((label, speed, f"{ratio(seconds[LOOP], taken):.2f}", *off.get(label, ("", "", ""))))
    show(rows, right=(1, 2, 3, 4, 5))
    for label in OPENVINO_INT8:
        if label in seconds and OURS_INT8 in seconds:
            print(f"{OURS_INT8} against {label}: {ratio(seconds[label], seconds[OURS_INT8]):.2f}")
    ours = [label for label in seconds if label.startswith("layerwise")]
    return [Figure(f"{label} against the loop", ratio(seconds[LOOP], seconds[label]), " x") for label in ours]


def on_minilm(texts: Sequence[str], calibrating: Sequence[str]) -> None:
    """Measure the error of the ways that round on a model with trained weights, and print."""
    with quiet():
        encoder = lw.load_encoder("minilm", device="cpu")
        ways = rounding_ways("minilm", encoder, Batches(encoder), calibrating)
        expected = plain_states(encoder, texts)
        off = {label: errors(way, texts, expected) for label, way in ways.items()}
    print(f"\nerror on minilm, {len(texts)} texts")
    rows = [("way", "relative error", "in layer", "least cosine")]
    show([*rows, *((label, *figures) for label, figures in off.items())], right=(1, 2, 3))
    print("relative error: the mean of |a - b| / |b| over all tokens, in the layer where it is largest")
    print("least cosine: of the texts' mean vectors, over all layers")
    print("b: plain forwards of one text in fp32")


def left_out(flair: str | None) -> Iterator[str]:
    """Yield a line on each thing that isn't measured, and what to do."""
    for package in PACKAGES:
        if package not in installed():
            yield f"{package} isn't installed and was left out: pip install {package}"
    if flair is None:
        yield "flair was left out: pip install flair 'torch<2.14' in another environment, and --flair its python"
    if not int8.available():
        yield f"{OURS_INT8} was left out: it needs a processor with VNNI instructions"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=TEXTS, help="how many texts")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each way runs")
    parser.add_argument(
        "--calibrating", type=int, default=CALIBRATING, help="texts for NNCF, others than those"
    )
    parser.add_argument("--flair", metavar="PYTHON", help="an interpreter that has flair")
    given = parser.parse_args()
    heading(f"others: every layer on BERT-base shape, {given.texts} texts, {given.rounds} rounds")
    print(", ".join(f"{name} {version}" for name, version in installed().items()), flush=True)
    texts = documentation(given.texts)
    calibrating = [text for text in documentation(given.texts + given.calibrating) if text not in texts]
    calibrating = calibrating[: given.calibrating]
    figures = race(texts, calibrating, given.rounds, given.flair)
    on_minilm(texts[:COMPARED], calibrating)
    print()
    for line in left_out(given.flair):
        print(line)
    finish(figures)


if __name__ == "__main__":
    main()
