"""What a probe's result looks like as text."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.figures.label_spread import spread
from layerwise.figures.markdown import escape, probe_markdown
from layerwise.layers import short_mix
from layerwise.mixes import HOWS, parse_mix
from probe_results import bare_result, probe_result


def cells(line: str) -> list[str]:
    """The cells of a table's line, parted at pipes that no backslash escapes."""
    return [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]]


def tables(text: str) -> list[list[list[str]]]:
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [[cells(line) for line in block] for block in blocks]


def test_the_advice_comes_first_and_the_tables_hold_the_numbers() -> None:
    result = probe_result()
    text = probe_markdown(result)
    assert text.split("\n\n")[:2] == ["# Which layer for label", "Take layer 2."]
    candidates, baselines, learned = tables(text)
    header = "mix||accuracy|95% interval|p vs best|macro-F1|bits|compression|cost|bytes per row"
    assert candidates[0] == header.split("|")
    # fmt: off
    assert candidates[2] == ["`6`", "", "0.80", "0.79 to 0.82", "< 0.001", "0.78", "2,346", "2.90×", "0%", "768"]
    # fmt: on
    assert candidates[4][:2] == ["`4`", "best"]
    assert candidates[4][4] == "–"
    assert candidates[6][:2] == ["`2`", "cheapest"]
    assert [row[0] for row in candidates[9:]] == ["`mean(0:7)`", "`concat(0:7)`", "`learned(0:7)`"]
    assert baselines[2:4] == [
        ["majority", "0.51", "0.50 to 0.52"],
        ["bag of words", "0.81", "0.79 to 0.81"],
    ]
    assert baselines[-1] == ["shuffled labels", "0.50", "–"]
    assert learned[0] == ["layer", "weight", "share of logit variance"]
    assert learned[2] == ["emb", "0.14 (0.10 to 0.20)", "0.25"]
    for line in (
        "Layers that resemble",
        "0.83 (95% interval 0.82 to 0.85)",
        "5 × 5 nested folds",
        "seed 7",
    ):
        assert line in text


def test_what_is_null_everywhere_is_left_out() -> None:
    text = probe_markdown(bare_result())
    ((header, _, row),) = tables(text)
    assert (header, row) == (["mix", "R²"], ["`mean(1,2)`", "−0.25"])
    for word in ("Baselines", "learned mix", "Notes", "Selectivity", "Cost", "`chosen`", "None", "nan"):
        assert word not in text
    assert "selectivity" in tables(probe_markdown(probe_result(control=True)))[0][0]
    result = bare_result() | {"chosen": {"score": float("nan")}, "baselines": {"majority": 0.1}}
    assert tables(probe_markdown(result))[1][2] == ["mean", "0.10"], "the task is one of numbers"


HOSTILE = st.text(max_size=20) | st.sampled_from(
    [
        "a|b",
        "a\\|b",
        "<script>",
        "a\nb\r\n\n# c",
        "- x",
        "1. x",
        "*b* _i_ `c` [l](u)",
        "\u202eabc",
        "\ud800",
        "&lt;",
    ]
)


@given(HOSTILE)
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_a_table_or_becomes_markup(text: str) -> None:
    result = probe_result()
    plain = probe_markdown(result)
    result["label"] = result["task"] = result["candidates"][0]["mix"] = text
    result["notes"] = [text]
    result["baselines"] = {text + "x": 0.5} | result["baselines"]
    found = probe_markdown(result)
    found.encode()
    lengths = [{len(row) for row in rows} for rows in tables(found)]
    assert lengths == [{len(row) for row in rows} for rows in tables(plain)]
    assert not re.search(r"[<>]", found.replace("< 0.001", ""))
    assert found.count("\n\n") == plain.count("\n\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, bag_of_words", "plain words, bag_of_words"),
        ("a|b\nc", r"a\|b c"),
        ("\\|", r"\\\|"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("_x_ *y* `z`", r"\_x\_ \*y\* \`z\`"),
        ("# no title", r"\# no title"),
        ("1. no list", r"1\. no list"),
        ("-4", r"\-4"),
        ("标签", "标签"),
        ("\u202e", r"\\u202e"),
    ],
)
def test_text_is_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(
    st.sampled_from(HOWS), st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True), st.booleans()
)
def test_a_short_mix_is_the_same_mix(how: str, depths: list[int], run: bool) -> None:
    layers = range(min(depths), min(depths) + len(depths)) if run else depths
    layers = [depth for depth in layers if depth <= 12]
    weights = f"; {','.join('1' for _ in layers)}" if how == "weighted" else ""
    mix = parse_mix(f"{how}({','.join(map(str, layers))}{weights}; norm=layer)", 12)
    short = short_mix(str(mix))
    assert parse_mix(short, 12) == mix
    assert (":" in short) == (len(layers) > 2 and list(layers) == list(range(layers[0], layers[-1] + 1)))


@pytest.mark.parametrize("mix", ["8", "emb", "mean(1,2)", "mean(2,1,0)", "weird((", "8; norm=layer", ""])
def test_other_mixes_stay(mix: str) -> None:
    assert short_mix(mix) == mix


@given(st.lists(st.floats(0, 100), max_size=8))
def test_labels_are_spread_in_order_apart_and_inside(wanted: list[float]) -> None:
    wanted.sort()
    places = spread(wanted, 10, 0, 100)
    assert len(places) == len(wanted)
    assert all(b - a >= 10 - 1e-6 for a, b in pairwise(places))
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)


def test_labels_move_only_where_they_must() -> None:
    assert spread([10, 50, 51, 90], 10, 0, 100) == pytest.approx([10, 45.5, 55.5, 90])
    assert spread([99, 100], 10, 0, 100) == pytest.approx([90, 100])
