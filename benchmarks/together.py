"""Two heads of one model, one of texts and one of words: in one forward, against one after the other; minilm."""

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from common import Goal, documentation, heading, interleaved, ratio, show, show_goals

import layerwise as lw
from layerwise.word_split import split_words

TRAINED, ROUNDS = 128, 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=512, metavar="N")
    texts = documentation(parser.parse_args().texts)
    heading(f"two heads on {len(texts)} paragraphs, median of {ROUNDS} interleaved runs")
    with tempfile.TemporaryDirectory() as folder:
        length, names = _heads(Path(folder), texts[:TRAINED])
    answers = length.predict(texts, heads=[names])
    for name, head in (("length", length), ("names", names)):
        alone = [{key: value for key, value in row.items() if key != "doc"} for row in head.predict(texts)]
        if alone != [row[name] for row in answers]:
            raise SystemExit(f"the answers of head {name} differ from those of a run of its own")
    seconds = interleaved(
        {
            "in one forward": partial(length.predict, texts, heads=[names]),
            "one after the other": lambda: (length.predict(texts), names.predict(texts)),
            "the first head alone": partial(length.predict, texts),
        },
        ROUNDS,
    )
    rows = [("two heads", "seconds", "fastest", "slowest")]
    rows += [
        (way, f"{statistics.median(s):.2f}", f"{min(s):.2f}", f"{max(s):.2f}") for way, s in seconds.items()
    ]
    show(rows, right=(1, 2, 3))
    gain = ratio(seconds["one after the other"], seconds["in one forward"])
    show_goals([Goal("two runs against one forward", gain, 1.5, " x")])


def _heads(room: Path, texts: list[str]) -> tuple[lw.Head, lw.Head]:
    """Return a head of texts (is it long?) and one of words (does it begin with a capital?), both on `mean(1:)`."""
    words = [[text[start:end] for start, end in split_words(text)] for text in texts]
    middle = statistics.median(map(len, texts))
    records: list[dict[str, Any]] = [
        {
            "text": text,
            "words": words_of_text,
            "length": "long" if len(text) > middle else "short",
            "tag": ["B-CAP" if word[:1].isupper() else "O" for word in words_of_text],
        }
        for text, words_of_text in zip(texts, words, strict=True)
    ]
    source = room / "texts.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    of_texts = lw.extract(source, room / "texts.lw")
    of_words = lw.extract(source, room / "words.lw", words="words", level="word")
    options: dict[str, Any] = {"mix": "mean(1:)"}
    return (
        lw.train(of_texts, task="classify", label="length", out=room / "length.head", **options),
        lw.train(of_words, task="tag", label="tag", out=room / "names.head", **options),
    )


if __name__ == "__main__":
    main()
