"""What `probe` and `train` print about a learned mix: the ablation first, then the weights."""

from functools import partial
from typing import Any

from layerwise._util.display import score_digits
from layerwise.cli import output
from layerwise.wording import fixed, name_of, phrase, text_in


def mix_report(learned: dict[str, Any], lang: str = "en") -> list[str]:
    """Return what the ablation and the weights show, and a table of the layers, the greatest loss first.

    Args:
        learned: the JSON values of a learned mix, see `heads.learned_mix.LearnedMix`, in the language.
        lang: the language of its words, `en` or `zh`.
    """
    digits = score_digits(
        (left["difference"]["low"], left["difference"]["high"]) for left in learned["left_out"].values()
    )
    rows = [_header(learned, lang)]
    for name in learned["order"] or learned["layers"]:
        weight, share = learned["weights"][name], learned["logit_variance"][name]
        row = [output.visible(name)]
        if left := learned["left_out"].get(name):
            difference = left["difference"]
            row += [
                fixed(difference["value"], digits),
                _ends(difference, lang, digits),
                fixed(left["value"], digits),
            ]
        for estimate in (weight, share):
            row += [fixed(estimate["value"], 2), _ends(estimate, lang)]
        rows.append(row)
    right = (1, 3, 4, 6) if learned["left_out"] else (1, 3)
    return [
        *learned["summary"],
        *(f"  {line}" for line in output.table(rows, right=right)),
        learned["caution"],
    ]


def _header(learned: dict[str, Any], lang: str) -> list[str]:
    say = partial(phrase, lang)
    metric = text_in(name_of("metric", learned["metric"]), lang)
    without = [say("terminal.loss"), say("markdown.interval"), say("markdown.without", metric=metric)]
    refits = say("terminal.refits")
    weights = [say("markdown.weight"), refits, say("markdown.variance"), refits]
    return [say("markdown.layer"), *(without if learned["left_out"] else []), *weights]


def _ends(estimate: dict[str, Any], lang: str, digits: int = 2) -> str:
    if estimate["low"] is None:
        return ""
    ends = {name: fixed(estimate[name], digits) for name in ("low", "high")}
    return phrase(lang, "markdown.interval.to", **ends)
