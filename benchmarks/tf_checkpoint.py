"""Loading a TensorFlow checkpoint of BERT-base, 440 MB, with all checksums checked: whole, and the checksums alone."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import ROOT, Goal, heading, show, show_goals

sys.path.insert(0, str(ROOT / "tests"))

from layerwise.encode.checkpoint import find_checkpoint
from layerwise.encode.hf.saving import save_random
from layerwise.encode.load import load_quietly
from layerwise.encode.request import Loading
from layerwise.encode.tensorflow.bundle import Bundle
from layerwise.encode.tensorflow.crc32c import crc32c, masked
from tensorflow_writer import as_google, write_bundle

_VOCABULARY = 30_522
_SIZES = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
}


def write_checkpoint(folder: Path) -> Path:
    """Write a BERT of the base shape with random weights as Google releases it; return its index."""
    from safetensors.numpy import load_file

    folder.mkdir()
    save_random(folder / "model", find_checkpoint("minilm"))
    weights = load_file(folder / "model" / "model.safetensors")
    google = folder / "uncased_L-12_H-768_A-12"
    google.mkdir()
    # The writer's own checksums are computed byte by byte, which takes minutes.
    write_bundle(
        google / "bert_model.ckpt", as_google(weights, "bert"), checksum=lambda raw: masked(crc32c(raw))
    )
    (google / "bert_config.json").write_text(json.dumps(_SIZES))
    words = [f"word{number}" for number in range(_VOCABULARY - 5)]
    (google / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    return google / "bert_model.ckpt.index"


def check_all(index: Path) -> None:
    """Check the checksum of every tensor."""
    bundle = Bundle(index)
    for name in bundle.entries:
        bundle.check(name)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that a function took, and the seconds of processors."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Measure and print."""
    heading("tf_checkpoint: a checkpoint of BERT-base is loaded")
    with tempfile.TemporaryDirectory() as folder:
        index = write_checkpoint(Path(folder) / "files")
        size = sum(path.stat().st_size for path in index.parent.glob("*.data-*"))
        load_quietly("minilm", Loading(device="cpu"))  # the modules of torch and transformers
        seconds = {
            "checksums alone": timed(lambda: check_all(index)),
            "load_encoder": timed(lambda: load_quietly(index.parent, Loading(device="cpu"))),
        }
    show(
        [
            ("what", "seconds", "seconds of processors"),
            *((what, f"{wall:.1f}", f"{busy:.1f}") for what, (wall, busy) in seconds.items()),
        ],
        right=(1, 2),
    )
    print(f"\n{size / 1e6:.0f} MB of data")
    checksums, whole = seconds.values()
    show_goals(
        [
            Goal("checksums of 440 MB", checksums[1], 10, " s of processors", True),
            Goal("load_encoder of 440 MB", whole[1], 10, " s of processors", True),
        ]
    )


if __name__ == "__main__":
    main()
