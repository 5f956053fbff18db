"""Tune an encoder end to end on one task, with plain transformers: the reference line of `make results`.

    python benchmarks/finetune.py SOURCE --label COL --model FOLDER --out FOLDER [--words COL] [--epochs N] [--seed N]

SOURCE is JSONL with a column `split` (`train`, `test`; other rows aren't used). Texts are classified by the model's own
classification head; with `--words` each word gets a tag by its first token. All weights are trained by AdamW, with a
linear rise of the learning rate over the first tenth of the steps and a linear decay to zero; no epoch is chosen. With
`--bf16` products are computed in bfloat16 (torch.autocast), the weights stay in float32. The folder gets the tuned model
and `test.json`, the labels of the test rows and the predicted ones.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    set_seed,
)

LEARNING_RATE, WEIGHT_DECAY, WARM_UP, LARGEST_NORM = 1e-4, 0.01, 0.1, 1.0
BATCH, MOST_TOKENS, BATCHES_SORTED = 16, 256, 25
IGNORED = -100  # the label of tokens that aren't scored, as in transformers


@dataclass(frozen=True)
class Row:
    """A text or its words, with its label or their tags."""

    text: str | list[str]
    label: str | list[str]

    @property
    def labels(self) -> list[str]:
        """The label as a list of one, or the tags."""
        return [self.label] if isinstance(self.label, str) else self.label


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune, predict, save, and print the number of trained weights as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    for name in ("label", "model", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--words", metavar="COL")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    set_seed(args.seed)
    train, test = (
        read_rows(args.source, part, args.label, args.words or "text") for part in ("train", "test")
    )
    names = sorted({label for row in train for label in row.labels})
    tuning = Tuning.start(args.model, names, tags=args.words is not None, bf16=args.bf16)
    tuning.train(train, args.epochs, args.seed)
    predicted = tuning.predict([row.text for row in test])
    tuning.save(Path(args.out))
    scored = {"gold": [row.label for row in test], "predicted": predicted}
    Path(args.out, "test.json").write_text(json.dumps(scored), encoding="utf-8")
    print(json.dumps({"parameters": sum(weights.numel() for weights in tuning.model.parameters())}))
    return 0


def read_rows(source: Path, part: str, label: str, text: str) -> list[Row]:
    """Return the rows of a part of the split."""
    with source.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [Row(record[text], record[label]) for record in records if record["split"] == part]


@dataclass(frozen=True)
class Tuning:
    """A model with a classification head, its tokenizer, and the names of its outputs."""

    model: Any
    tokenizer: Any
    names: Sequence[str]
    tags: bool
    bf16: bool

    @classmethod
    def start(cls, folder: str, names: Sequence[str], *, tags: bool, bf16: bool) -> "Tuning":
        """Load an encoder, and put a new head on it."""
        kind = AutoModelForTokenClassification if tags else AutoModelForSequenceClassification
        model = kind.from_pretrained(
            folder, id2label=dict(enumerate(names)), label2id={name: n for n, name in enumerate(names)}
        )
        return cls(model, AutoTokenizer.from_pretrained(folder), names, tags, bf16)

    def train(self, rows: Sequence[Row], epochs: int, seed: int) -> None:
        """Train all weights."""
        draw = random.Random(seed)
        lengths = [len(self._tokens([row.text])["input_ids"][0]) for row in rows]
        batches = [batch for _ in range(epochs) for batch in batches_of(lengths, draw)]
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(step, len(batches)))
        self.model.train()
        for batch in batches:
            inputs, targets = self._batch([rows[i] for i in batch])
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                logits = self.model(**inputs).logits.float()
            cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_NORM)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()

    @torch.inference_mode()
    def predict(self, texts: Sequence[Any]) -> list[Any]:
        """Return the label of each text, or the tags of its words; words beyond the longest input are `O`."""
        self.model.eval()
        predicted: list[Any] = [None] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            encoding = self._tokens([texts[i] for i in batch], padding=True, return_tensors="pt")
            best = self.model(**encoding).logits.argmax(-1)
            for place, i in enumerate(batch):
                predicted[i] = (
                    self._tags_of(encoding.word_ids(place), best[place].tolist(), len(texts[i]))
                    if self.tags
                    else self.names[int(best[place])]
                )
        return predicted

    def save(self, folder: Path) -> None:
        """Write the model and its tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def _tokens(self, texts: Sequence[Any], **options: Any) -> Any:
        return self.tokenizer(
            list(texts), truncation=True, max_length=MOST_TOKENS, is_split_into_words=self.tags, **options
        )

    def _batch(self, rows: Sequence[Row]) -> tuple[Any, torch.Tensor]:
        """Return the inputs of the model, and the targets: int64 (rows,), or (rows, tokens) for tags."""
        inputs = self._tokens([row.text for row in rows], padding=True, return_tensors="pt")
        number = {name: n for n, name in enumerate(self.names)}
        if not self.tags:
            return inputs, torch.tensor([number[row.labels[0]] for row in rows])
        targets = torch.full(inputs["input_ids"].shape, IGNORED)
        for place, row in enumerate(rows):
            for token, word in first_tokens(inputs.word_ids(place)):
                targets[place, token] = number[row.labels[word]]
        return inputs, targets

    def _tags_of(self, word_ids: Sequence[int | None], best: Sequence[int], words: int) -> list[str]:
        tags = ["O"] * words
        for token, word in first_tokens(word_ids):
            tags[word] = self.names[best[token]]
        return tags


def first_tokens(word_ids: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Yield the place of the first token of each word, and the number of the word."""
    previous: int | None = None
    for token, word in enumerate(word_ids):
        if word is not None and word != previous:
            yield token, word
        previous = word


def batches_of(lengths: Sequence[int], draw: random.Random) -> list[list[int]]:
    """Return the rows of each batch of one epoch: random batches of texts of about equal length, in random order."""
    order = draw.sample(range(len(lengths)), len(lengths))
    batches = []
    for start in range(0, len(order), BATCH * BATCHES_SORTED):
        part = sorted(order[start : start + BATCH * BATCHES_SORTED], key=lambda i: lengths[i])
        batches += [part[i : i + BATCH] for i in range(0, len(part), BATCH)]
    draw.shuffle(batches)
    return batches


def share_of_rate(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a linear rise, then a linear decay to zero."""
    rise = max(1, round(WARM_UP * steps))
    return (step + 1) / rise if step < rise else max(0.0, (steps - step) / max(1, steps - rise))


if __name__ == "__main__":
    sys.exit(main())
