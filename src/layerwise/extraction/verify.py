"""Verifying a dataset: its files against their hashes, and a sample of its rows against plain transformers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise._util.paths import place
from layerwise._util.progress import Tracker
from layerwise.arguments import argument
from layerwise.encode.computing import computing
from layerwise.errors import DatasetError
from layerwise.example import Example
from layerwise.extraction.parity import LONGEST, Parity, parity, worst
from layerwise.extraction.sources import located, reopened
from layerwise.extraction.stored_model import load_stored_model, stored_request
from layerwise.extraction.stored_texts import has_texts, neighbours, places
from layerwise.read import Corpus
from layerwise.read.documents import DocumentNeed
from layerwise.results import Result, Table
from layerwise.states import matching_rows
from layerwise.store import LayerDataset, Problem, check_files, open_dataset
from layerwise.store.manifest import Manifest
from layerwise.tolerance import largest

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.states import LayerStates

SAMPLE = 32
Neighbours = tuple[Sequence[Example], int]
"""The texts of a document, and the place of one of them."""
_NEED = DocumentNeed(
    "the texts were encoded in their documents", "give the source that the dataset was made from"
)


@dataclass(frozen=True, slots=True, repr=False)
class Verification(Result):
    """Whether a dataset is as it was written; returned by `lw.verify`.

    `to_pandas()` has a row per layer: `layer`, `max_abs`, `max_rel`, `cosine`; see `Parity`. It has no row where no
    text was compared.

    Attributes:
        problems: what is changed, missing or truncated, or out of the tolerance: `file` and `what`.
        parity: the largest differences from plain transformers, by layer; `None` when no text was compared.
        tolerance: the largest `max_rel` that precision and stored type allow.
        texts: the number of texts that were compared.
        note: why none was compared, or some were left out.
    """

    problems: tuple[Problem, ...]
    parity: dict[str, Parity] | None
    tolerance: float | None
    texts: int
    note: str | None

    @property
    def ok(self) -> bool:
        """Nothing is changed, missing or truncated, and all compared rows are within the tolerance."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return what `layerwise verify --json` prints."""
        parities = (
            {layer: asdict(parity) for layer, parity in self.parity.items()}
            if self.parity is not None
            else None
        )
        return {
            "ok": self.ok,
            "problems": [{"file": problem.file, "what": problem.what} for problem in self.problems],
            "compared": self.texts,
            "parity": parities,
            "note": self.note,
        }

    def _lines(self) -> Sequence[str]:
        outcome = "ok" if self.ok else f"not ok, problems: {len(self.problems):,}"
        tolerance = f", tolerance {self.tolerance:.1e}" if self.tolerance is not None else ""
        problems = [f"{problem.file}: {problem.what}" for problem in self.problems]
        largest_differences = (
            f"largest max_rel {max(p.max_rel for p in self.parity.values()):.1e}" if self.parity else ""
        )
        return [
            f"Verification: {outcome}, texts compared: {self.texts:,}{tolerance}",
            largest_differences,
            self.note or "",
            *problems,
        ]

    def _table(self) -> Table:
        parities = self.parity or {}
        columns = {
            name: [getattr(parity, name) for parity in parities.values()]
            for name in ("max_abs", "max_rel", "cosine")
        }
        return {"layer": list(parities), **columns}


def verify_dataset(
    path: str | Path,
    source: str | Path | Sequence[str | Path] | None,
    sample: int,
    seed: int,
    model: str | Path | None,
    loading: Mapping[str, Any],
    threads: int | None,
    track: Tracker,
) -> Verification:
    """Check the files of a dataset, and a sample of its rows; see `api.verify`.

    Args:
        model: where its model is now, if not where it was.
        loading: `device`, `allow_pickle`, `trust_remote_code` and `adapter` of `load_encoder`.
    """
    checking, comparing = track.split(1, 1) if sample else track.split(1, 0)
    problems = tuple(check_files(place(path), checking))
    if problems:
        return _uncompared(problems, "the files are damaged, so no row was compared")
    dataset = open_dataset(path)
    problems = _loose(dataset)
    docs = _sample(dataset.text_count, sample, seed)
    why = _not_comparable(dataset, source, docs, sample)
    if why is not None:
        return _uncompared(problems, why)
    examples = examples_of(dataset, source, docs) if source is not None else {}
    comparing.named("loading the model")
    with computing(threads):
        encoder = load_stored_model(
            dataset,
            remedy=f"name the right one with {argument('model')}",
            model=model,
            plain=True,
            **loading,
        )
        other = _other_shape(dataset, encoder)
        if other is not None:
            return _uncompared((*problems, other), "no row was compared, because the model is another one")
        errors = _compared(dataset, encoder, docs, examples, comparing)
    verification = _judge(dataset, errors, len(docs) - len(errors))
    return replace(verification, problems=(*problems, *verification.problems))


def _uncompared(problems: tuple[Problem, ...], note: str) -> Verification:
    return Verification(problems, None, None, 0, note)


def _not_comparable(
    dataset: LayerDataset, source: str | Path | Sequence[str | Path] | None, docs: Sequence[int], sample: int
) -> str | None:
    """Return why no row of a dataset can be compared; `None` when some can."""
    if not docs:
        return f"no row was compared, because {'there is none' if sample else 'the sample is 0'}"
    derived = dataset.manifest.derived
    if derived is not None and derived.level == "word":
        return "no row was compared, because the rows were pooled from words; verify the dataset of words"
    if source is None and not has_texts(dataset):
        return f"the dataset holds no texts; give {argument('source')} to compare rows as well"
    return None


def _compared(
    dataset: LayerDataset,
    encoder: Encoder,
    docs: Sequence[int],
    examples: Mapping[int, Neighbours],
    track: Tracker,
) -> list[dict[str, Parity]]:
    """Return how far the rows of some texts are off, per layer; texts that are too long are left out."""
    request = stored_request(encoder, dataset.manifest.settings)
    errors = []
    steps = track.each(docs, (f"comparing text {doc}" for doc in docs))
    for (part, doc, row), _ in zip(places(dataset, docs), steps, strict=True):
        texts, number = examples[doc] if examples else neighbours(part, row)
        if len(texts[number].text) <= LONGEST:
            expected = encoder.states(texts, request, only=[number])
            errors.append(_compare(part, doc, expected))
    return errors


def _judge(dataset: LayerDataset, errors: Sequence[dict[str, Parity]], long: int) -> Verification:
    """Compare the measured errors with what precision and stored type allow, even if the manifest states more."""
    note = f"{long} sampled texts of more than {LONGEST:,} characters were left out" if long else None
    if not errors:
        return Verification((), None, None, 0, note)
    parities = {
        layer: worst([error[layer] for error in errors if layer in error]) for layer in dataset.layers
    }
    limits = {layer: _limit(dataset.manifest, layer) for layer in dataset.layers}
    out = []
    for layer, measured in parities.items():
        limit = limits[layer]
        if not measured.max_rel <= limit:
            what = f"max_rel {measured.max_rel:.2e} is out of the tolerance of {limit:.2e}"
            out.append(Problem(f"layer {layer}", what))
    return Verification(tuple(out), parities, max(limits.values()), len(errors), note)


def _other_shape(dataset: LayerDataset, encoder: Encoder) -> Problem | None:
    """Return the problem that the manifest has another shape than the model: `-1` would then name another layer."""
    for name in ("blocks", "width"):
        stored, actual = getattr(dataset, name), getattr(encoder, name)
        if stored != actual:
            return Problem("manifest.json", f"{name} is {stored:,}, and the model has {actual:,}")
    return None


def _most(manifest: Manifest) -> float:
    return largest(manifest.settings.precision, manifest.dtype, derived=manifest.derived is not None)


def _limit(manifest: Manifest, layer: str) -> float:
    """Return how far the rows of a layer may be off.

    It follows from precision and stored type. Where it was measured (int8), or depends on what rows were pooled
    from, the manifest may state less, but never more.
    """
    most, stated = _most(manifest), manifest.tolerance
    if manifest.settings.precision != "int8" and manifest.derived is None:
        return most
    return min(most, float((stated.layers or {}).get(layer, stated.value)))


def _loose(dataset: LayerDataset) -> tuple[Problem, ...]:
    """Return the problem that a manifest states a larger tolerance than precision and stored type allow."""
    manifest = dataset.manifest
    most = _most(manifest)
    worst = max([manifest.tolerance.value, *(manifest.tolerance.layers or {}).values()])
    if worst <= most * (1 + 1e-9):
        return ()
    of = f"precision {manifest.settings.precision} stored as {manifest.dtype}"
    return (
        Problem(
            "manifest.json", f"states a tolerance of {worst:.2e}, and that of {of} is at most {most:.2e}"
        ),
    )


def _sample(texts: int, sample: int, seed: int) -> list[int]:
    """Return the numbers of a random sample of texts, in order."""
    return sorted(random.Random(seed).sample(range(texts), min(sample, texts)))


def examples_of(
    dataset: LayerDataset, source: str | Path | Sequence[str | Path], docs: Sequence[int]
) -> dict[int, Neighbours]:
    """Return some texts of a dataset by their numbers, read anew from its source.

    Raises:
        DatasetError: the source has fewer texts than the dataset.
    """
    manifest, shards = dataset.manifest, iter(dataset.shards)
    entries = manifest.sources
    examples: dict[int, Neighbours] = {}
    context = manifest.settings.context
    need = None if context is None else _NEED
    first = 0
    for entry, files in zip(entries, located(entries, range(len(entries)), source), strict=True):
        end = first + sum(shard.texts for shard in itertools.islice(shards, entry.shards))
        docs_of_entry = {doc - first for doc in docs if first <= doc < end}
        corpus = reopened(manifest, entry, files, need)
        picked = _picked(corpus, docs_of_entry, in_documents=need is not None)
        examples |= {first + doc: texts for doc, texts in picked}
        first = end
    if len(examples) < len(docs):
        raise DatasetError(
            f"the source gives fewer texts than the {manifest.totals.texts} of the dataset; give the one that it was made from"
        )
    return examples


def consecutive(texts: Mapping[int, Neighbours]) -> tuple[list[Example], list[int]]:
    """Return the texts of `examples_of` with their neighbours, each document once, and the places of the former."""
    examples: list[Example] = []
    only: list[int] = []
    previous: Sequence[Example] = ()
    for doc in sorted(texts):
        document, place = texts[doc]
        if document is not previous:
            examples += document
        only.append(len(examples) - len(document) + place)
        previous = document
    return examples, only


def _picked(corpus: Corpus, docs: set[int], *, in_documents: bool) -> Iterator[tuple[int, Neighbours]]:
    """Yield some texts by number, each with the texts of its document, or alone."""
    doc, last = 0, max(docs, default=-1)
    for record in corpus.records() if docs else ():
        for number, example in enumerate(record):
            if doc in docs:
                yield doc, ((record, number) if in_documents else ((example,), 0))
            doc += 1
        if doc > last:
            return


def _compare(dataset: LayerDataset, doc: int, expected: LayerStates) -> dict[str, Parity]:
    rows = matching_rows(dataset, doc=doc)
    if len(rows) != len(expected):
        raise DatasetError(
            f"text {doc} has {len(rows)} rows in the dataset and {len(expected)} now; check that source and model haven't changed"
        )
    if not len(rows):
        return {}
    return {layer: parity(dataset.layer(layer, rows), expected.layer(layer)) for layer in dataset.layers}
