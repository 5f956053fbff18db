"""What is printed about a learned mix: the ablation first, the greatest loss first, digits that intervals support."""

import re

from layerwise.cli.mix_report import mix_report
from layerwise.heads.learned_mix import LearnedMix, LeftOut, Range
from layerwise.wording import in_language


def mix(left_out: tuple[LeftOut, ...]) -> LearnedMix:
    weights = (Range(0.99, 0.0, 1.0), Range(0.01, 0.0, 1.0))
    refits = ((0.99, 0.01), (0.01, 0.99))
    return LearnedMix(("1", "2"), left_out, weights, refits, weights, "accuracy", 0.8, ("1", "2"), 0.9, 2)


def test_the_ablation_comes_before_the_weights() -> None:
    left_out = (
        LeftOut(0.8, 0.75, 0.85, Range(-0.001, -0.02, 0.01)),
        LeftOut(0.738, 0.7, 0.78, Range(0.062, 0.03, 0.09)),
    )
    needed, others, weights, header, first, second, caution = mix_report(mix(left_out).to_json())
    assert needed == "Without layer 2 the accuracy falls by 0.06 (0.03 to 0.09)."
    assert others == "For no other layer is the loss distinguished from 0."
    assert weights.startswith("The weights mean nothing here: over 2 refits")
    columns = "layer loss without it 95% interval accuracy without it weight of refits share of logit variance of refits"
    assert " ".join(header.split()) == columns
    assert " ".join(first.split()) == "2 0.06 0.03 to 0.09 0.74 0.01 0.00 to 1.00 0.01 0.00 to 1.00"
    assert " ".join(second.split()) == "1 0.00 −0.02 to 0.01 0.80 0.99 0.00 to 1.00 0.99 0.00 to 1.00"
    assert "share weight" in caution


def test_a_report_in_chinese_has_the_same_numbers_and_no_english() -> None:
    left_out = (
        LeftOut(0.8, 0.75, 0.85, Range(-0.001, -0.02, 0.01)),
        LeftOut(0.738, 0.7, 0.78, Range(0.062, 0.03, 0.09)),
    )
    values = mix(left_out).to_json()
    english = mix_report(values)
    chinese = mix_report(in_language(values, "zh"), "zh")
    assert not re.search(r"[a-z]{2,}", " ".join(chinese).replace("logit", ""))
    numbers = [sorted(re.findall(r"−?\d+\.\d+", line)) for line in (*english, *chinese)]
    assert numbers[: len(english)] == numbers[len(english) :]


def test_without_held_out_rows_the_weights_are_printed_alone() -> None:
    weights, header, *rows, _ = mix_report(mix(()).to_json())
    assert weights.startswith("The weights mean nothing")
    assert header.split() == [
        "layer",
        "weight",
        "of",
        "refits",
        "share",
        "of",
        "logit",
        "variance",
        "of",
        "refits",
    ]
    assert [row.split()[0] for row in rows] == ["1", "2"]
