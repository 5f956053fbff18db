"""The score of a probed label without some blocks: a sample of the probe's rows, encoded anew and probed again.

The whole model encodes the same texts, so that both scores are of the same rows and folds, and come from float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerwise._util.progress import Tracker
from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.columns import is_paired
from layerwise.cutting.plan import CutPlan
from layerwise.cutting.result import DroppedScore
from layerwise.encode.cut_source import CutSource
from layerwise.encode.encoder import Encoder
from layerwise.encode.load import load_encoder
from layerwise.errors import LayerwiseError, RequestError
from layerwise.extraction.stored_model import HASHES, stored_request
from layerwise.extraction.stored_texts import has_texts, stored_examples
from layerwise.geometry.sample import Sample, draw
from layerwise.labels.attached import with_labels
from layerwise.options import ProbeOptions
from layerwise.probing.probe import probe
from layerwise.results import Estimate
from layerwise.states import LayerStates
from layerwise.store import LayerDataset, open_dataset
from layerwise.store.result_provenance import fingerprint
from layerwise.store.stored_result import result_content

MOST_ROWS = 1000
_WHOLE, _WITHOUT = "1", "2"  # the names under which both models' vectors are probed


@dataclass(frozen=True)
class DropProbe:
    """The rows on which blocks are left out, and the label that they are scored for.

    Attributes:
        content: the content of the probe.
        dataset: the probed dataset.
        sample: some of its rows, with the label.
        label: the column of the label.
    """

    content: Mapping[str, Any]
    dataset: LayerDataset
    sample: Sample
    label: str


def drop_probe(result: Any, source: CutSource) -> DropProbe:
    """Return what `drop_score` needs, before anything takes long.

    Raises:
        RequestError: no probe, or one whose texts can't be encoded again.
    """
    content = result_content(result, "probe", "probe")
    dataset = _dataset_of(content)
    _check_encodable(dataset, source)
    record = content.get("labels_from")
    labels_from = None if not isinstance(record, dict) else f"{record['source']}:{record['column']}"
    attached = with_labels(dataset, labels_from, content["label"], task=content["task"])
    sample = draw(attached.dataset, MOST_ROWS, int(content.get("seed") or 0))
    return DropProbe(content, dataset, sample, str(attached.label))


def _dataset_of(content: Mapping[str, Any]) -> LayerDataset:
    entry = content.get("dataset")
    path = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(path, str):
        raise RequestError(
            f"{argument('probe')} is of rows in memory, which can't be encoded again; probe a dataset on disk, or leave "
            f"{argument('probe')} out"
        )
    try:
        dataset = open_dataset(path)
    except LayerwiseError as error:
        raise RequestError(f"{argument('probe')} is of a dataset that can't be opened: {error}") from None
    if fingerprint(dataset) != entry.get("sha256"):  # type: ignore[union-attr]
        raise RequestError(
            f"{argument('probe')} is of {path} before it was changed; make it again with `probe`"
        )
    return dataset


def _check_encodable(dataset: LayerDataset, source: CutSource) -> None:
    """Raise RequestError for a dataset of another model, without texts, or whose rows can't be made from texts again."""
    model = dataset.manifest.model
    if any(getattr(model, part) != source.hashes[part] for part in HASHES):
        raise RequestError(
            f"{argument('probe')} is of the model {model.id!r}, and {source.name!r} is another one; cut that model, or probe a "
            "dataset of this one"
        )
    if not has_texts(dataset):
        raise RequestError(
            f"{argument('probe')} is of {dataset.path}, which stores no texts to encode again without these blocks; leave "
            f"{argument('probe')} out, or extract without {argument('no_text', True)}"
        )
    derived = dataset.manifest.derived
    if is_paired(dataset) or (derived is not None and derived.level == "word"):
        raise RequestError(
            f"{argument('probe')} is of {dataset.path}, whose rows are pairs of texts or pools of words, and these aren't "
            f"encoded again; leave {argument('probe')} out"
        )


def drop_score(
    probed: DropProbe, source: CutSource, plan: CutPlan, folder: Path, track: Tracker
) -> DroppedScore:
    """Return the score of the probe's label without some blocks.

    Args:
        probed: the rows and the label.
        source: the whole model.
        plan: which of its blocks stay.
        folder: the model without the others.
        track: progress of encoding and scoring.

    Raises:
        RequestError: labels that don't allow an answer.
    """
    docs = np.unique(probed.sample.docs)
    encoding, scoring = track.split(3, 1)
    encoding.named("encoding rows without the blocks")
    device = str(next(source.model.parameters()).device)
    whole = _encoded(_whole_encoder(source, device), probed.dataset, docs, plan.layer)
    without = _encoded(load_encoder(folder, device=device), probed.dataset, docs, "-1")
    layers = {_WHOLE: whole.layer(whole.layers[-1]), _WITHOUT: without.layer(without.layers[-1])}
    both = LayerStates(
        layers, level=whole.level, pool=whole.pool, blocks=len(layers), index=whole.index, texts=whole.texts
    )
    rows = _rows_of(probed.sample, probed.dataset, whole)
    scoring.named("scoring the rows")
    result = probe(
        Sample(both, rows, probed.sample.index, probed.sample.texts),
        probed.content["task"],
        probed.label,
        _options(probed.content),
        track=scoring,
    )
    _check_classes(result.classes, probed.content)
    scores = {mix: Estimate(result[mix].score, result[mix].low, result[mix].high) for mix in layers}
    return DroppedScore(
        str(probed.content["task"]),
        probed.label,
        result.metric,
        result.rows,
        without=scores[_WITHOUT],
        whole=scores[_WHOLE],
    )


def _whole_encoder(source: CutSource, device: str) -> Encoder:
    adapter = source.checkpoint.adapter
    return load_encoder(
        source.name,
        revision=source.checkpoint.revision,
        device=device,
        allow_pickle=source.checkpoint.files.pickled,
        adapter=None if adapter is None or adapter.folder == source.checkpoint.folder else adapter.folder,
    )


def _encoded(encoder: Encoder, dataset: LayerDataset, docs: I64, layer: str) -> LayerStates:
    examples, only = stored_examples(dataset, docs.tolist())
    return encoder.states(examples, stored_request(encoder, dataset.manifest.settings, layer), only=only)


def _rows_of(sample: Sample, dataset: LayerDataset, states: LayerStates) -> I64:
    """Return the numbers that the rows of a sample have among the rows of its texts alone, int64 (n,)."""
    docs = np.unique(sample.docs)
    starts = np.searchsorted(_docs_of(dataset), docs)
    starts_in_states = np.searchsorted(states.index["doc"].to_numpy(), np.arange(len(docs)))
    places = np.searchsorted(docs, sample.docs)
    rows: I64 = sample.chosen - starts[places] + starts_in_states[places]
    return rows


def _docs_of(dataset: LayerDataset) -> I64:
    """Return the number of each row's text, int64 (rows,)."""
    docs: I64 = np.concatenate([part.index["doc"].to_numpy() for part in dataset.parts()])
    return docs


def _options(content: Mapping[str, Any]) -> ProbeOptions:
    return ProbeOptions(
        groups=content.get("groups"),
        metric=content.get("metric"),
        mix=(),
        quick=True,
        no_codelength=True,
        seed=int(content.get("seed") or 0),
        max_rows=MOST_ROWS,
    )


def _check_classes(classes: tuple[str, ...], content: Mapping[str, Any]) -> None:
    """Raise RequestError where labels are read in another way than the probe read them, which it doesn't record."""
    unknown = [name for name in classes if name not in (content.get("classes") or ())]
    if unknown:
        raise RequestError(
            f"{argument('probe')} has no class {unknown[0]!r:.60}, so its labels were divided by "
            f"{argument('label_separator')}, which isn't recorded; leave {argument('probe')} out"
        )
