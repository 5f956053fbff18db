"""train: fit a head to the labelled rows of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise._util.paths import local_path
from layerwise._util.progress import Callback, tracking
from layerwise._util.silence import warned_once
from layerwise._util.threads import choose, limited
from layerwise.heads.predict import Head
from layerwise.heads.train import train_head
from layerwise.options import TrainOptions
from layerwise.store import LayerDataset, disk

if TYPE_CHECKING:
    from layerwise.probing.results import ProbeResult


def train(
    dataset: LayerDataset | str | Path,
    *,
    task: str | None = None,
    label: str | None = None,
    mix: str | int | Mapping[str, str | int] | None = None,
    mix_from: ProbeResult | Mapping[str, Any] | str | Path | None = None,
    head_type: str = "linear",
    out: str | Path | None = None,
    tasks: Mapping[str, str | Sequence[str]] | None = None,
    groups: str | None = None,
    split: str | None = None,
    class_weight: str | None = None,
    label_separator: str | None = None,
    labels_from: Any = None,
    hidden: int | None = None,
    shared_hidden: int | None = None,
    layer_dropout: float = 0.0,
    epochs: int | None = None,
    patience: int | None = None,
    draws: int = 20,
    private: float | None = None,
    delta: float | None = None,
    public: LayerDataset | str | Path | None = None,
    seed: int | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Head:
    """Train a head on the rows of a dataset, and write it to the folder `out`.

    Some training rows are held out: whole groups, and identical texts stay together. They choose the regularisation
    of a linear head, or the number of epochs of the gradient loop (`head_type="mlp"`, `learned` mixes). The head is
    then fitted to all training rows. With a `split` that has a dev part, the dev rows are held out instead, and the
    head is never fitted to them. Test rows are only scored.

    Args:
        dataset: a dataset, or its folder.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels; a column of lists has several labels per row.
        mix: a mix string, or one per task; by default the mean of all stored layers but `emb`.
        mix_from: in place of `mix`: what `probe` returned, or the folder that it wrote; the mix is the best of its
            advice.
        head_type: `linear` or `mlp`.
        out: the folder of the head; nothing is written by default.
        tasks: several tasks at once, in place of `task` and `label`: `{"topic": "classify:topic", …}`.
        groups: a column; rows with equal values are never split between training and test; by default documents
            (see "Which layer" in the documentation), where there are ten or more.
        split: a column of `train`, `dev` (or `validation`) and `test`.
        class_weight: `balanced` weights rows so that every class has the same total weight.
        label_separator: the text between the labels of a cell that holds several, such as `;`.
        labels_from: a file of labels, or `FILE:COL`; or in memory a data frame or a list. They are joined to the texts by
            the column `id` if both have one, else by order. The column is `label`, or the only one besides `id`.
        hidden: the width of an MLP's hidden layer; 128 by default.
        shared_hidden: the width of one hidden layer that all tasks share.
        layer_dropout: for `learned` mixes, the probability that a layer is left out of a step.
        epochs, patience: the largest number of epochs of the gradient loop (200 by default), and the number of epochs
            without a lower held-out loss after which it stops (10 by default).
        draws: for `learned` mixes, the number of refits on resampled groups, for intervals of the weights.
        private: ε: train with central differential privacy (see "Privacy" in the documentation): a linear classifier on a
            fixed mix, which says little about whether one text, or the texts of one value of `groups`, were
            replaced. No row is held out or scored.
        delta: with `private`, δ, the probability that the bound of ε fails; far below 1 / texts.
        public: with `private`, a dataset of public texts, whose means and deviations standardise the private rows, and whose
            labels name the classes.
        seed: seed of the held-out rows, of initial weights and of batches (0 by default); refused with `private`.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        the head; `training` holds its scores on held-out and test rows.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    choose(threads)
    if out is not None:
        disk.check_new(local_path(out))
    options = TrainOptions(
        mix_from=mix_from,
        groups=groups,
        split=split,
        class_weight=class_weight,
        label_separator=label_separator,
        labels_from=labels_from,
        head_type=head_type,
        hidden=hidden,
        shared_hidden=shared_hidden,
        epochs=epochs,
        patience=patience,
        layer_dropout=layer_dropout,
        draws=draws,
        private=private,
        delta=delta,
        public=public,
        seed=seed,
    )
    with warned_once(), limited(threads), tracking(progress) as track:
        trained = train_head(
            dataset, task=task, label=label, mix=mix, tasks=tasks, options=options, track=track
        )
    if out is not None:
        trained.save(out)
    return trained
