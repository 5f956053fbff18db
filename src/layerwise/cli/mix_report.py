"""What `probe` and `train` print about a learned mix: the ablation first, then the weights."""

from typing import Any

from layerwise._util.display import score_digits
from layerwise.choices import METRICS
from layerwise.cli import output


def mix_report(learned: dict[str, Any]) -> list[str]:
    """Return what the ablation and the weights show, and a table of the layers, the greatest loss first.

    Args:
        learned: the JSON values of a learned mix, see `heads.learned_mix.LearnedMix`.
    """
    digits = score_digits(
        (left["difference"]["low"], left["difference"]["high"]) for left in learned["left_out"].values()
    )
    metric = METRICS.get(learned["metric"], learned["metric"])
    ablation = ["loss without it", "95% interval", f"{metric} without it"] if learned["left_out"] else []
    rows = [["layer", *ablation, "weight", "of refits", "share of logit variance", "of refits"]]
    for name in learned["order"] or learned["layers"]:
        weight, share = learned["weights"][name], learned["logit_variance"][name]
        row = [output.visible(name)]
        if left := learned["left_out"].get(name):
            difference = left["difference"]
            row += [
                _number(difference["value"], digits),
                _ends(difference, digits),
                _number(left["value"], digits),
            ]
        rows.append([*row, _number(weight["value"]), _ends(weight), _number(share["value"]), _ends(share)])
    right = (1, 3, 4, 6) if ablation else (1, 3)
    return [
        *learned["summary"],
        *(f"  {line}" for line in output.table(rows, right=right)),
        learned["caution"],
    ]


def _number(value: float, digits: int = 2) -> str:
    return f"{value:z.{digits}f}"


def _ends(estimate: dict[str, Any], digits: int = 2) -> str:
    low, high = estimate["low"], estimate["high"]
    return "" if low is None else f"{_number(low, digits)} to {_number(high, digits)}"
