"""A corpus of numbered texts that fills many small shards, and what the shards hold."""

from pathlib import Path
from typing import Any

TEXTS = [f"text number {n} " + "word " * (n % 13) for n in range(60)]
OPTIONS: dict[str, Any] = {"shard_texts": 4, "device": "cpu"}


def write_texts(folder: Path, texts: list[str] = TEXTS) -> Path:
    """Write a text per line to `texts.txt` in a folder, and return its path."""
    path = folder / "texts.txt"
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return path


def shard_bytes(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file of the shards of a dataset, by name."""
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}
