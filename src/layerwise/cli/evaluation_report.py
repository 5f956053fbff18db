"""The report of an evaluation: scores with intervals, a table of labels, and which labels are confused."""

from typing import Any

from layerwise._util.display import clipped, count_of, width
from layerwise.choices import METRICS
from layerwise.cli import output

_COLUMNS = 80  # of a terminal
_LABEL = 30  # columns of a label in the table of labels
_CELL = 12  # columns of a label above the table of confusions
_PAIRS = 10  # pairs of confused labels that are listed where the table is too wide


def evaluation_lines(source: str, evaluation: Any) -> list[str]:
    """Return the lines about the scores on a source, a block per task."""
    lines: list[str] = []
    for task in evaluation.tasks.values():
        lines += ["", *_task(source, task)] if lines else _task(source, task)
    return lines


def _task(source: str, task: Any) -> list[str]:
    dropped = f", {count_of(task.dropped, 'row')} without a label not used" if task.dropped else ""
    lines = [
        f"{output.visible(source, 200)}: {output.visible(task.name)}, {count_of(task.rows, 'row')}{dropped}"
    ]
    lines += _indented(_scores(task))
    if task.per_label:
        lines += ["", *_indented(_labels(task))]
    if task.confusion is not None:
        lines += ["", *_indented(_confusion(task.confusion))]
    return lines


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _scores(task: Any) -> list[str]:
    """Return the table of scores; for classes with the accuracy of predicting the most frequent one everywhere."""
    rows = [("score", "", "95% interval")]
    for name, estimate in task.scores.items():
        ends = "" if estimate.low is None else f"{_number(estimate.low)} to {_number(estimate.high)}"
        rows.append((METRICS.get(name, name), _number(estimate.score), ends))
    if task.task == "classify" and task.confusion is not None:
        label, values = max(task.per_label.items(), key=lambda entry: entry[1]["support"])
        name = f"accuracy of always {_visible(label, _LABEL)}"
        rows.append((name, _number(values["support"] / task.rows), ""))
    return output.table(rows, right=(1,))


def _labels(task: Any) -> list[str]:
    unit = "spans" if task.task == "tag" else "rows"
    rows: list[tuple[str, ...]] = [("label", "precision", "recall", "F1", unit)]
    for label, values in task.per_label.items():
        shares = (_number(values[name]) for name in ("precision", "recall", "f1"))
        rows.append((_visible(label, _LABEL), *shares, f"{values['support']:,}"))
    return output.table(rows, right=(1, 2, 3, 4))


def _confusion(confusion: Any) -> list[str]:
    """Return the table of confusions; where it is too wide, the labels that are confused most often."""
    labels = [_visible(label, _CELL) for label in confusion.labels]
    rows = [("label \\ predicted", *labels)]
    rows += [
        (label, *(f"{count:,}" for count in row)) for label, row in zip(labels, confusion.counts, strict=True)
    ]
    table = output.table(rows, right=range(1, len(labels) + 1))
    if max(map(width, table)) <= _COLUMNS - 2:
        return table
    return _confused(confusion)


def _confused(confusion: Any) -> list[str]:
    """Return the labels that are confused most often, the most frequent first."""
    names = confusion.labels
    cells = [
        (count, names[label], names[predicted])
        for label, row in enumerate(confusion.counts)
        for predicted, count in enumerate(row)
        if count and label != predicted
    ]
    cells.sort(key=lambda cell: -cell[0])
    if not cells:
        return ["no label is confused with another"]
    rows = [("label", "predicted as", "rows")]
    rows += [
        (_visible(label, _LABEL), _visible(predicted, _LABEL), f"{count:,}")
        for count, label, predicted in cells[:_PAIRS]
    ]
    more = [f"and {len(cells) - _PAIRS:,} more pairs of labels"] if len(cells) > _PAIRS else []
    return [*output.table(rows, right=(2,)), *more]


def _visible(label: str, columns: int) -> str:
    return clipped(output.visible(label, columns), columns)


def _number(value: float) -> str:
    return f"{value:.4f}"
