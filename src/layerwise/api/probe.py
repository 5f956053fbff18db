"""probe: compare layers and mixes for a label, and write the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise._util.paths import local_path
from layerwise._util.progress import Callback, tracking
from layerwise._util.silence import warned_once
from layerwise._util.threads import limited
from layerwise.arguments import argument
from layerwise.choices import HEAD_TYPES, LANGS, one_of
from layerwise.errors import RequestError
from layerwise.extraction.untrained import untrained
from layerwise.figures.markdown import probe_markdown
from layerwise.figures.result_figures import save_probe_figures
from layerwise.labels.attached import with_labels
from layerwise.options import ProbeOptions, check_types
from layerwise.probing.probe import probe as score_candidates
from layerwise.read.word_vectors import word_vector_reader
from layerwise.store import disk
from layerwise.store.layout import to_json
from layerwise.store.reader import open_rows
from layerwise.store.result_folder import result_folder
from layerwise.store.result_provenance import extraction_speed, provenance_of

if TYPE_CHECKING:
    from layerwise.probing.results import ProbeResult
    from layerwise.states import Layered


def probe(
    dataset: Layered | str | Path,
    *,
    task: str,
    label: str | None = None,
    metric: str | None = None,
    class_weight: str | None = None,
    mix: Sequence[str] | None = None,
    out: str | Path | None = None,
    groups: str | None = None,
    split: str | None = None,
    centre: str | None = None,
    label_separator: str | None = None,
    labels_from: Any = None,
    quick: bool = False,
    no_codelength: bool = False,
    max_rows: int = 20_000,
    random_model: bool = False,
    head_type: str = "linear",
    vectors: str | Path | None = None,
    expected_layer: bool = False,
    lang: str = "en",
    seed: int = 0,
    progress: Callback | None = None,
    threads: int | None = None,
) -> ProbeResult:
    """Score every layer and several mixes of a dataset for a label, and advise which to use.

    Args:
        dataset: a dataset, its folder, or states in memory.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels; a column of lists has several labels per row.
        metric: the metric of all scores, by which C is chosen and candidates are compared: for classes `accuracy` (the
            default), `macro_f1`, `balanced_accuracy`, `auc` or `mcc`; for several labels per row `micro_f1`, `macro_f1` or
            `accuracy`; for numbers `r2`, `pearson` or `spearman`; for tags `span_f1`.
        class_weight: `balanced` weights rows so that every class has the same total weight.
        mix: mix strings to score besides the single layers; a few common ones by default.
        out: a folder for probe.json, probe.md and a figure (SVG and PNG); it must not exist.
        groups: a column; texts with equal values are never split between training and test; by default documents
            (see "Which layer" in the documentation), where there are ten or more.
        split: a column of `train`, `dev` and `test`; train on texts of one language and test on those of another to see which
            layer carries over, and `result.transfer`.
        centre: a column, such as the language: the mean of all rows with the same value is subtracted from each layer. This
            uses the vectors of the test rows, and no label.
        label_separator: the text between the labels of a cell that holds several, such as `;`.
        labels_from: a file of labels, or `FILE:COL`; or in memory a data frame or a list. They are joined to the texts by
            the column `id` if both have one, else by order. The column is `label`, or the only one besides `id`.
        quick: 1 × 5 folds instead of 5 × 5.
        no_codelength: leave out the online codelength; `codelength` is then `None`.
        max_rows: the largest number of rows to use; whole texts are sampled.
        random_model: also score the best candidate on the same architecture with random weights, for three
            seeds; the dataset must hold its texts.
        head_type: `mlp` also puts the best mix under a small network, on the same folds; `result.mlp` has its score and the
            difference from the linear classifier.
        vectors: a file of static word vectors (the text format of word2vec, GloVe or fastText), a further baseline: the mean
            of the vectors of a text's words, at word level the vector of the word.
        expected_layer: also compute the layer at which the label is resolved (Tenney et al. 2019), from learned mixes of the
            first layers; `result.expected_layer` has it.
        lang: the language of probe.md and of the figures, `en` or `zh`; probe.json has the advice and the notes in English,
            and as messages that can be said in every language.
        seed: seed of folds, samples and resamples.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        scores with intervals, baselines and advice: `result.advice.text` is the answer in words.

    Raises:
        RequestError: labels, classes, texts, columns or mixes that don't allow an answer.
        DatasetError: no dataset.
        OutputError: `out` exists, or can't be written to.
    """
    options: dict[str, Any] = {
        "groups": groups,
        "split": split,
        "centre": centre,
        "label_separator": label_separator,
        "metric": metric,
        "class_weight": class_weight,
        "mix": mix,
        "quick": quick,
        "no_codelength": no_codelength,
        "seed": seed,
        "max_rows": max_rows,
        "random_model": random_model,
        "head_type": head_type,
        "vectors": vectors,
        "expected_layer": expected_layer,
        "lang": lang,
    }
    check_types(ProbeOptions, options)
    one_of("lang", lang, LANGS)
    one_of("head_type", head_type, HEAD_TYPES)
    target = local_path(out) if out is not None else None
    if target is not None:
        disk.check_new(target)
    vector_reader = word_vector_reader(vectors) if vectors is not None else None
    opened = open_rows(dataset).checked()
    attached = with_labels(opened, labels_from, label, task=task)
    if attached.label is None:
        raise RequestError(
            f"{argument('task', task)} needs the column of its labels; name it in {argument('label')}"
        )
    with warned_once(), limited(threads), tracking(progress) as track:
        result = score_candidates(
            attached.dataset,
            task,
            attached.label,
            ProbeOptions(**options),
            random_models=untrained(opened, seed) if random_model else (),
            vectors=vector_reader,
            track=track,
        )
        result = replace(
            result.with_speed(extraction_speed(opened)),
            notes=(*attached.notes, *result.notes),
            provenance=provenance_of(opened) | {"labels_from": attached.record},
        )
        if target is not None:
            with result_folder(target) as folder:
                notes = save_probe_figures(result.to_json(), folder, lang)
                result = replace(result, notes=(*result.notes, *notes))
                content = result.to_json()
                disk.write_file(folder / "probe.json", to_json(content))
                disk.write_file(folder / "probe.md", probe_markdown(content, lang).encode())
    return result
