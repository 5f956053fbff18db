"""A running server of a tiny model with heads."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import layerwise as lw

if TYPE_CHECKING:
    from serving_client import Served


@pytest.fixture(scope="session")
def head_folders(
    tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]
) -> dict[str, Path]:
    """Heads of one model: classes, a number, two texts, tags, and one of texts that are read in other windows."""
    room, model = tmp_path_factory.mktemp("heads"), encoder_of("bert")

    def dataset(name: str, records: list[dict[str, Any]], **options: Any) -> Any:
        source = room / f"{name}.jsonl"
        source.write_text("".join(json.dumps(record) + "\n" for record in records))
        return lw.extract(source, room / f"{name}.lw", model=model, **options)

    words = [
        f"{a} {b}" for a in ("Rome", "good", "天气", "word") for b in ("sleeps", "and Paris.", "bad", "")
    ]
    texts = [{"text": text, "label": "abc"[n % 3], "n": n} for n, text in enumerate(words * 2)]
    pairs = [{"a": text, "b": words[-1 - n % 16], "same": "yn"[n % 2]} for n, text in enumerate(words * 2)]
    tags = [
        {"words": [*text.split(), "."], "tag": [*["B-X", "I-X", "O"][: len(text.split())], "O"]}
        for text in words * 2
    ]
    plain, short = dataset("plain", texts), dataset("short", texts, max_length=9)
    lw.train(plain, task="classify", label="label", mix="mean(1,2)", out=room / "mood.head")
    lw.train(plain, task="regress", label="n", mix="emb", out=room / "number.head")
    lw.train(short, task="classify", label="label", mix="3", out=room / "short.head")
    lw.train(
        dataset("pairs", pairs, text="a,b"), task="classify", label="same", mix="2", out=room / "pair.head"
    )
    lw.train(
        dataset("tags", tags, words="words", level="word"),
        task="tag",
        label="tag",
        mix="concat(emb,2)",
        out=room / "names.head",
    )
    return {name: room / f"{name}.head" for name in ("mood", "number", "short", "pair", "names")}


@pytest.fixture(scope="session")
def heads(head_folders: dict[str, Path]) -> dict[str, Any]:
    return {name: lw.load_head(folder, device="cpu") for name, folder in head_folders.items()}


@pytest.fixture(scope="session")
def served(encoder_of: Callable[[str], Any], heads: dict[str, Any]) -> Iterator["Served"]:
    """A server of two models, the first with all heads."""
    from serving_client import serving  # imports the web framework

    with serving([encoder_of("bert"), encoder_of("mpnet")], list(heads.values())) as served:
        yield served


@pytest.fixture(scope="session")
def name(served: "Served") -> str:
    """The name of the first model."""
    return served.service.first.name
