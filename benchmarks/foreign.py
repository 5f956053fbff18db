"""The other libraries of `others.py`, each imported where it is used, and what they share."""

import contextlib
import importlib.metadata
import json
import logging
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from layerwise.encode.encoder import Encoder
from layerwise.encode.hf import loading
from layerwise.encode.plain_loop import PlainLoop

BATCH = 32
LOOP = "transformers: one text at a time"
OPENVINO_INT8 = ("OpenVINO int8, the rest fp32", "OpenVINO int8, the rest bf16")
PACKAGES = ("sentence-transformers", "openvino", "nncf")
FLAIR = """
import json, sys
import flair, transformers
from flair.data import Sentence
from flair.embeddings import TransformerWordEmbeddings
folder, texts = json.loads(sys.stdin.readline())
model = TransformerWordEmbeddings(folder, layers="all", layer_mean=False)
print(json.dumps(f"flair {flair.__version__} (transformers {transformers.__version__})"), flush=True)
for _ in sys.stdin:
    kept = []
    for begin in range(0, len(texts), 32):
        sentences = [Sentence(text) for text in texts[begin : begin + 32]]
        model.embed(sentences)
        kept += [[word.embedding.cpu().numpy() for word in sentence] for sentence in sentences]
    print(json.dumps(sum(map(len, kept))), flush=True)
    del kept, sentences
"""
Layers = list[NDArray[np.float32]]
"""Per layer the vectors of one text, (tokens, width), or of a batch, (texts, tokens, width)."""


@dataclass(frozen=True)
class Way:
    """`run` is what is timed; `states` gives what it computes text by text, without padding."""

    run: Callable[[Sequence[str]], Any]
    states: Callable[[Sequence[str]], list[Layers]] | None = None


def installed() -> dict[str, str]:
    """Return the versions of the other packages that are there."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


class Batches:
    """Padded batches of 32 texts of about the same length."""

    def __init__(self, encoder: Encoder) -> None:
        self.loaded = loading.load(encoder.checkpoint, device="cpu")
        self._length = encoder.max_length

    def of(self, texts: Sequence[str], tensors: str) -> Iterator[tuple[list[int], Any]]:
        """Yield numbers of texts and their inputs, as tensors of torch (`pt`) or arrays (`np`)."""
        tokenizer = self.loaded.tokenizer
        inputs = tokenizer(list(texts), truncation=True, max_length=self._length)
        order = sorted(range(len(texts)), key=lambda number: len(inputs["input_ids"][number]))
        for begin in range(0, len(order), BATCH):
            chosen = order[begin : begin + BATCH]
            batch = {name: [values[number] for number in chosen] for name, values in inputs.items()}
            yield chosen, tokenizer.pad(batch, return_tensors=tensors)

    @torch.inference_mode()
    def run(self, texts: Sequence[str]) -> list[Layers]:
        """Run them through transformers."""
        return [
            [state.numpy() for state in self.loaded.model(**inputs, output_hidden_states=True).hidden_states]
            for _, inputs in self.of(texts, "pt")
        ]

    def count(self, texts: Sequence[str]) -> tuple[int, int]:
        """Return the number of tokens, special ones included, without and with padding."""
        masks = [inputs["attention_mask"] for _, inputs in self.of(texts, "np")]
        return sum(int(mask.sum()) for mask in masks), sum(mask.size for mask in masks)


def plain_ways(encoder: Encoder, batches: Batches) -> dict[str, Way]:
    """Return what transformers alone can do."""
    plain = PlainLoop(encoder.checkpoint, "cpu")
    return {
        LOOP: Way(plain.one_by_one),
        f"transformers: batches of {BATCH} in input order": Way(lambda texts: plain.padded(texts, BATCH)),
        f"transformers: batches of {BATCH} by length": Way(batches.run),
    }


def sentence_transformers_ways(encoder: Encoder) -> dict[str, Way]:
    """Return sentence-transformers; it sorts by length itself."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(encoder.checkpoint.folder), device="cpu")
    model.max_seq_length = encoder.max_length

    def run(texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Encode, the last layer only."""
        found = model.encode(list(texts), output_value="token_embeddings", show_progress_bar=False)
        return [vectors.numpy() for vectors in found]

    return {"sentence-transformers: the last layer only": Way(run)}


class Flair:
    """flair in a process of its own, by an interpreter that has it: `FLAIR` runs once per line that it reads."""

    def __init__(self, python: str, folder: str, texts: Sequence[str]) -> None:
        threads = str(torch.get_num_threads())
        self._process = subprocess.Popen(
            [python, "-c", FLAIR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"},
        )
        self.versions = self._ask(json.dumps([folder, list(texts)]))

    def run(self, _: Sequence[str]) -> int:
        """Encode the texts that the process was given; returns the number of words."""
        return int(self._ask("go"))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        for answer in self._process.stdout:
            with contextlib.suppress(ValueError):  # flair may print lines of its own
                return json.loads(answer)
        raise SystemExit("flair's process broke; `import flair` in its interpreter may say why")


class AllStates(torch.nn.Module):
    """A model whose outputs are its hidden states, for OpenVINO to convert."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        """Return the states, each (texts, tokens, width)."""
        return self._model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            output_hidden_states=True,
        ).hidden_states


def openvino_ways(batches: Batches, calibrating: Sequence[str]) -> dict[str, Way]:
    """Return OpenVINO in fp32 and bf16, and where NNCF is installed int8, calibrated on some texts."""
    import openvino

    _, example = next(batches.of(calibrating[:2], "pt"))
    model = openvino.convert_model(AllStates(batches.loaded.model), example_input=dict(example))

    def way(model: Any, precision: str) -> Way:
        options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = openvino.compile_model(model, "CPU", options)

        def run(texts: Sequence[str]) -> list[Layers]:
            """Encode; a call returns copies (a request per batch, without them, was no faster)."""
            return [list(compiled(dict(inputs)).values()) for _, inputs in batches.of(texts, "np")]

        def states(texts: Sequence[str]) -> list[Layers]:
            """Encode, and cut the padding off."""
            found: dict[int, Layers] = {}
            for (chosen, inputs), layers in zip(batches.of(texts, "np"), run(texts), strict=True):
                for place, (number, mask) in enumerate(zip(chosen, inputs["attention_mask"], strict=True)):
                    found[number] = [layer[place, : mask.sum()] for layer in layers]
            return [found[number] for number in range(len(texts))]

        return Way(run, states)

    ways = {"OpenVINO fp32": way(model, "f32"), "OpenVINO bf16": way(model, "bf16")}
    if "nncf" in installed():
        rounded = quantised(model, batches, calibrating)
        ways |= dict(zip(OPENVINO_INT8, (way(rounded, "f32"), way(rounded, "bf16")), strict=True))
    return ways


def quantised(model: Any, batches: Batches, calibrating: Sequence[str]) -> Any:
    """Return a model in int8, by NNCF's post-training quantisation with its settings for transformers."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    inputs = [dict(inputs) for text in calibrating for _, inputs in batches.of([text], "np")]
    return nncf.quantize(
        model, nncf.Dataset(inputs), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(inputs)
    )
