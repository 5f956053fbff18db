"""Gold links: sure and possible, counted from 0 or 1; bad ones are refused with their line."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from layerwise.errors import RequestError, SourceError
from layerwise.read.gold_links import Link, check_gold, read_gold
from layerwise.read.parallel_texts import open_parallel

LINES = ["1-1 2p3  2-2", "", "3-1 3p1 1p2"]


def links(*sure: Link, possible: Sequence[Link] = ()) -> tuple[frozenset[Link], frozenset[Link]]:
    return frozenset(sure), frozenset([*sure, *possible])


def test_sure_links_are_possible_too(tmp_path: Path) -> None:
    (tmp_path / "gold").write_text("\n".join(LINES) + "\n")
    for source in (tmp_path / "gold", LINES):
        first, second, third = read_gold(source, 1)
        assert (first.sure, first.possible) == links((0, 0), (1, 1), possible=[(1, 2)])
        assert (second.sure, second.possible) == links()
        assert (third.sure, third.possible) == links((2, 0), possible=[(0, 1)])
    assert read_gold(LINES, 0)[0].sure == {(1, 1), (2, 2)}


@pytest.mark.parametrize("item", ["1", "a-b", "1--2", "1-2-3", "1 - 2", "١-٢", "1P2", "1-" + "9" * 5000])
def test_what_is_no_link_is_refused_with_its_line(tmp_path: Path, item: str) -> None:
    (tmp_path / "gold").write_text(f"1-1\n{item}\n", encoding="utf-8")
    with pytest.raises(SourceError, match="gold, line 2: .* is no link; write 3-4 for a sure link and 3p4"):
        read_gold(tmp_path / "gold", 1)


def test_another_base_is_refused_with_its_line() -> None:
    with pytest.raises(
        SourceError, match="gold of text 1: 3p0 names word 0, and words are counted from 1; give gold_b"
    ):
        read_gold(["1-1", "3p0"], 1)
    with pytest.raises(RequestError, match="gold_base=2 doesn't exist; give 0 or 1"):
        read_gold(LINES, 2)


def test_gold_links_without_a_link_are_refused() -> None:
    for lines in ([], ["", " "]):
        with pytest.raises(SourceError, match=f"gold has no link in {len(lines)} lines; give gold links, or"):
            read_gold(lines, 0)


def checked(a: list[str], b: list[str], lines: list[str], base: int) -> None:
    check_gold(read_gold(lines, base), open_parallel(a, b), base)


def test_links_to_words_that_do_not_exist_are_refused_with_their_line() -> None:
    checked(["x y", "z"], ["u", "v w"], ["1-1 2-1", "1p2"], 1)
    with pytest.raises(
        SourceError, match="gold of text 1: 0-2 names word 2 of side b, which has 2 words, counted from 0; g"
    ):
        checked(["x y", "z"], ["u", "v w"], ["0-0", "0-2"], 0)
    with pytest.raises(
        SourceError, match=r"3-1 names word 3 of side a, which has 2 words, counted from 1; see text 0$"
    ):
        checked(["x y", "z"], ["u", "v w"], ["3-1", ""], 1)
    with pytest.raises(SourceError, match="0-1 names word 1 of side b, which has 1 word, counted from 0"):
        checked(["x y", "z"], ["u", "v w"], ["0-1", ""], 0)


def test_a_line_for_each_pair() -> None:
    with pytest.raises(
        SourceError, match=r"gold has 1 line \(gold of text 0 is its last\), and there are 2 sentence pairs"
    ):
        checked(["x", "z"], ["u", "v"], ["0-0"], 0)
    with pytest.raises(
        SourceError, match=r"gold has 3 lines \(gold of text 2 is its last\), and there are 2"
    ):
        checked(["x", "z"], ["u", "v"], ["0-0", "", ""], 0)
