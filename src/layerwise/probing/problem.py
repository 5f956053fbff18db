"""The rows and targets of a probe: rare classes are dropped, rows sampled, and what was left out is noted.

Labels, groups and roles are those of training, see `labels`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.columns import in_order
from layerwise.errors import RequestError
from layerwise.labels import metrics
from layerwise.labels.conflicts import conflict_note
from layerwise.labels.folds import check_groups, split_roles
from layerwise.labels.groups import Division, Grouping, group_rows, leak_note
from layerwise.labels.labelled import (
    Labelled,
    Mask,
    check_classes,
    check_labelled,
    check_numbers,
    class_names,
    encode,
    read_labels,
    separator_note,
)
from layerwise.labels.scorers import (
    ClassScorer,
    LabelsScorer,
    Scorer,
    SpanScorer,
    class_scorer,
    number_scorer,
)
from layerwise.probing.control import control_labels
from layerwise.states import Layered
from layerwise.wording import Message, Value, some


@dataclass(frozen=True, slots=True, eq=False)
class ProbeProblem:
    """Rows of a probe with their targets.

    Attributes:
        labelled: the rows, and their labels as the dataset has them.
        groups: (n,), group of each row; rows of one group are never split between training and test.
        group_column: the column that makes the groups, or `None` where they are texts.
        targets: (n,), class numbers, or standardised values for regression; for several labels per row 1 for each label,
            else 0, float32 (n, K).
        names: the classes, in the order of their numbers; empty for regression.
        scorer: scores predictions.
        roles: the part (train, dev, test) of each row in the user's own split, or `None`.
        words: the text of each row, or `None` where texts aren't stored.
        notes: sentences for the user about what was left out.
    """

    labelled: Labelled
    groups: I64
    group_column: str | None
    targets: I64 | NDArray[np.float32]
    names: tuple[str, ...]
    scorer: Scorer
    roles: NDArray[np.str_] | None
    words: list[str] | None
    notes: list[Message] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many scores a row gets: one per class, or 1 for regression."""
        return max(len(self.names), 1)

    def controls(self, seeds: Sequence[int]) -> tuple[list[I64], list[Scorer]]:
        """Return random labels per word type for each seed, and their scorers."""
        assert self.words is not None
        classes = np.asarray(self.targets, np.int64)
        labels_per_seed = [control_labels(self.words, classes, len(self.names), seed) for seed in seeds]
        return labels_per_seed, [ClassScorer(labels) for labels in labels_per_seed]


def gather(
    dataset: Layered,
    task: str,
    label: str,
    *,
    label_separator: str | None = None,
    metric: str | None = None,
    groups: str | None,
    split: str | None,
    folds: int,
    max_rows: int,
    seed: int,
) -> ProbeProblem:
    """Return the rows of a dataset that a probe uses, with targets, groups and scorer.

    Raises:
        RequestError: no labels, fewer than two classes, more classes than rows, a metric of another task.
    """
    labelled = read_labels(dataset, task, label, label_separator)
    metric = _checked_metric(metric, task, labelled.multi)
    note = separator_note(labelled, label, label_separator)
    notes = [*labelled.notes, *([note] if note else [])]
    if labelled.dropped:
        notes.append(Message("note.untagged" if task == "tag" else "note.unlabelled", n=labelled.dropped))
    check_labelled(len(labelled), [label])
    roles = split_roles(dataset, labelled.docs, split) if split is not None else None
    grouping = group_rows(dataset, labelled.docs, groups, _division(task, labelled, roles, folds))
    notes += grouping.notes
    conflicts = conflict_note(dataset, labelled.docs, labelled.values)
    notes += [conflicts] if conflicts else []
    keep = np.ones(len(labelled), bool) if roles is None else roles != ""
    if not keep.all():
        notes.append(Message("note.no.part", n=int((~keep).sum()), option=argument("split", split)))
    if roles is None:
        check_groups(len(np.unique(grouping.groups)), folds)
    elif task != "regress":
        _check_test_labels(labelled, roles, argument("split", split))
    if labelled.multi:
        labelled = _without_rare_labels(labelled, grouping, roles, folds, notes)
    elif task == "classify":
        check_classes(len(set(labelled.values)), len(labelled), label)
        keep &= _big_enough(labelled, grouping, roles, folds, notes)
    keep &= _sampled(grouping.texts, keep, roles, max_rows, seed, notes)
    if roles is not None:
        leak = leak_note(grouping, keep & (roles == "test"), keep & np.isin(roles, ("train", "dev")))
        notes += [leak] if leak else []
    places = np.flatnonzero(keep)
    labelled = labelled.take(places)
    roles = roles[places] if roles is not None else None
    targets, names, scorer = _targets(task, label, labelled, metric, notes)
    words = row_texts(dataset, labelled.rows)
    return ProbeProblem(
        labelled, grouping.groups[places], grouping.column, targets, names, scorer, roles, words, notes
    )


def _checked_metric(metric: str | None, task: str, multi: bool) -> str:
    """Return the metric, by default the primary one of the task.

    Raises:
        RequestError: the task doesn't have this metric.
    """
    allowed = metrics.choices(task, multi)
    if metric is None or metric in allowed:
        return metric or allowed[0]
    kind = f"{argument('task', task)}{' with several labels per row' if multi else ''}"
    raise RequestError(
        f"{argument('metric', metric)} isn't a metric of {kind}; choose one of {', '.join(allowed)}"
    )


def _check_test_labels(labelled: Labelled, roles: NDArray[np.str_], split: str) -> None:
    """Raise RequestError if no test row has a label of a training row, as where two languages spell labels differently."""
    training, test = (_labels_of(labelled, roles == role) for role in ("train", "test"))
    if training and test and not training & test:
        raise RequestError(
            f"no test row of {split} has a label of a training row: test rows have {_first(test)}, training rows have "
            f"{_first(training)}; name the labels alike in both parts"
        )


def _labels_of(labelled: Labelled, rows: Mask) -> set[str]:
    """Return the distinct labels of some rows."""
    values = labelled.values[rows]
    return {str(label) for labels in values for label in labels} if labelled.multi else set(map(str, values))


def _first(labels: set[str]) -> str:
    """Return the first five labels, quoted, and how many more there are."""
    more = f" and {len(labels) - 5:,} more" if len(labels) > 5 else ""
    return f"{', '.join(f'{label!r:.60}' for label in in_order(labels)[:5])}{more}"


def _division(task: str, labelled: Labelled, roles: NDArray[np.str_] | None, folds: int) -> Division:
    """Return how the rows will be divided: in folds, or by the user's split, whose train and test rows are resampled."""
    if roles is None:
        has_one_class = task == "classify" and not labelled.multi
        return Division(labels=[labelled.values] if has_one_class else [], groups_per_class=folds)
    return Division([roles == "train", roles == "test"], automatic=False)


def _big_enough(
    labelled: Labelled, grouping: Grouping, roles: NDArray[np.str_] | None, folds: int, notes: list[Message]
) -> Mask:
    """Return which rows have a class with at least as many groups as folds (with a split: one in training)."""
    keep = np.ones(len(labelled), bool)
    values = labelled.values.astype(str)
    least, small = folds if roles is None else 1, []
    for name in in_order(set(values.tolist())):
        rows = values == name
        where = rows if roles is None else rows & (roles == "train")
        if len(np.unique(grouping.groups[where])) < least:
            keep &= ~rows
            small.append((name, int(rows.sum())))
    if small:
        notes.append(_left_out_note("classes", small, grouping, least))
    return keep


def _without_rare_labels(
    labelled: Labelled, grouping: Grouping, roles: NDArray[np.str_] | None, folds: int, notes: list[Message]
) -> Labelled:
    """Return rows with several labels without the labels that `_big_enough` would leave out; no row is left out."""
    training = np.ones(len(labelled), bool) if roles is None else roles == "train"
    groups_of: dict[str, set[int]] = {}
    rows_of: Counter[str] = Counter()
    for labels, group, is_training in zip(labelled.values, grouping.groups.tolist(), training, strict=True):
        rows_of.update(labels)
        for label in labels if is_training else ():
            groups_of.setdefault(label, set()).add(group)
    least = folds if roles is None else 1
    rare = [(name, rows_of[name]) for name in in_order(rows_of) if len(groups_of.get(name, ())) < least]
    if not rare:
        return labelled
    notes.append(_left_out_note("labels", rare, grouping, least))
    names = {name for name, _ in rare}
    values = labelled.values.copy()
    for row, labels in enumerate(values):
        values[row] = tuple(label for label in labels if label not in names)
    return replace(labelled, values=values)


def _left_out_note(what: str, small: Sequence[tuple[str, int]], grouping: Grouping, least: int) -> Message:
    classes = some([f"{name!r} ({count:,})" for name, count in small], 10)
    if least == 1:
        return Message(f"note.rare.{what}.training", classes=classes)
    unit = "text" if grouping.column is None else grouping.unit
    return Message(f"note.rare.{what}", units=Message(f"note.units.{unit}"), least=least, classes=classes)


def _sampled(
    texts: I64, keep: Mask, roles: NDArray[np.str_] | None, max_rows: int, seed: int, notes: list[Message]
) -> Mask:
    """Return a random sample of whole texts with about `max_rows` rows at most (per part of a split)."""
    sampled = np.zeros(len(texts), bool)
    for role in np.unique(roles) if roles is not None else [None]:
        part = keep if role is None else keep & (roles == role)
        total = int(part.sum())
        if total <= max_rows:
            sampled |= part
            continue
        names, text_index, sizes = np.unique(texts[part], return_inverse=True, return_counts=True)
        order = np.random.default_rng(seed).permutation(len(names))
        chosen = np.zeros(len(names), bool)
        chosen[order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), max_rows, side="right")))]] = True
        sampled[np.flatnonzero(part)[chosen[text_index]]] = True
        used: dict[str, Value] = {"n": int((sampled & part).sum()), "of": total}
        used |= {"seed": str(seed), "option": argument("max_rows")}
        notes.append(
            Message("note.sampled.part", part=role, **used) if role else Message("note.sampled", **used)
        )
    return sampled


def _targets(
    task: str, label: str, labelled: Labelled, metric: str, notes: Sequence[str]
) -> tuple[I64 | NDArray[np.float32], tuple[str, ...], Scorer]:
    if task == "regress":
        values = labelled.values.astype(np.float64)
        check_numbers(values, label)
        scaled = (values - values.mean()) / values.std()
        return scaled.astype(np.float32), (), number_scorer(scaled, metric)
    classes = class_names(labelled.values, labelled.multi)
    if labelled.multi and classes:
        has_label = encode(labelled.values, classes, multi=True)
        return has_label, classes, LabelsScorer(has_label, metric)
    if len(classes) < 2:
        present = f"only {classes[0]!r:.60}" if classes else "none"
        left_out = f" ({notes[-1]})" if notes else ""
        raise RequestError(
            f"column {label!r} needs at least two classes with enough texts, and has {present}{left_out}; "
            "give more texts, or another column"
        )
    check_classes(len(classes), len(labelled), label, least_rows=2)
    codes = encode(labelled.values, classes)
    if task == "tag":
        return codes, classes, SpanScorer(codes, labelled.docs, classes)
    return codes, classes, class_scorer(codes, metric)


def row_texts(dataset: Layered, rows: I64) -> list[str] | None:
    """Return the text of each row (n,), the two texts of a pair joined by a space; `None` without texts."""
    flat = rows.reshape(-1)
    values: list[str] = []
    begin = 0
    order = np.argsort(flat, kind="stable")
    ascending = flat[order]
    for part in dataset.parts():
        if "text" not in part.index.column_names:
            return None
        low, high = np.searchsorted(ascending, [begin, begin + part.rows])
        values += part.index["text"].take(ascending[low:high] - begin).to_pylist()
        begin += part.rows
    out = np.empty(len(flat), object)
    out[order] = values
    texts = [str(text) for text in out]
    if rows.ndim == 2:
        return [f"{a} {b}" for a, b in zip(texts[::2], texts[1::2], strict=True)]
    return texts
