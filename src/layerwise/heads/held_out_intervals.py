"""How certain the scores of a training are: intervals, and a note where too few rows are scored."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from layerwise.arguments import are_flags, argument
from layerwise.array_types import F32
from layerwise.heads.head import TaskHead, apply
from layerwise.labels.intervals import ENOUGH_UNITS, score_intervals
from layerwise.labels.labelled import Mask
from layerwise.labels.plan import SplitPlan
from layerwise.labels.scorers import predicted_labels
from layerwise.wording import Message, fixed, name_of


def interval_record(plan: SplitPlan, number: int, x: F32, head: TaskHead, which: Mask) -> dict[str, Any]:
    """Return `intervals`, the ends of the 95% interval of each score, and how many `units` they are computed from.

    Args:
        plan: the rows and their roles.
        number: the position of the task in the plan.
        x: the features of all rows, standardised, float32 (planes, n, inputs).
        head: the head.
        which: the rows to score, bool (n,), of which some have a label of the task.
    """
    target = plan.targets[number]
    in_task, rows = which[target.has], target.has & which
    docs, units = target.docs[in_task], plan.groups[rows]
    predictions = predicted_labels(head.task, head.multi, head.classes, apply(head.fitted, x[:, rows]), docs)
    ends = score_intervals(head.task, target.multi, target.gold[in_task], predictions, docs, units)
    unit = "text" if plan.grouping.column is None else plan.grouping.unit
    return {
        "intervals": {name: list(interval) for name, interval in ends.items()},
        "units": len(np.unique(units)),
        "unit": unit,
    }


def few_units_notes(records: Mapping[str, Mapping[str, Any]]) -> Iterator[Message]:
    """Yield a note for each score of a training that is of fewer than `ENOUGH_UNITS` units.

    Args:
        records: the record of the training of each task, by its name.
    """
    for name, record in records.items():
        for part in ("held_out", "test"):
            scored = record[part]
            if scored and scored["units"] < ENOUGH_UNITS:
                yield _few_units(name, scored, part)


def _few_units(name: str, scored: Mapping[str, Any], part: str) -> Message:
    metric, value = next(iter(scored["scores"].items()))
    low, high = scored["intervals"].get(metric, (None, None))
    ends = (
        Message("note.few.any") if low is None else Message("note.few.ends", low=fixed(low), high=fixed(high))
    )
    return Message(
        "note.few.units",
        task=f"{name!r:.60}",
        n=scored["units"],
        part=Message(f"note.few.part.{part}"),
        units=Message(f"note.{'unit' if scored['units'] == 1 else 'units'}.{scored['unit']}"),
        others=Message(f"note.units.{scored['unit']}"),
        metric=name_of("metric", metric),
        score=fixed(value),
        ends=ends,
        least=ENOUGH_UNITS,
        other=f"`{argument('eval')}`" if are_flags() else "`lw.evaluate`",
    )
