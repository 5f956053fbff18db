"""Words of Chinese: jieba joins the CJK characters of a run, and all else is as without it."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise import segmenter
from layerwise.cli.main import main
from layerwise.errors import RequestError
from layerwise.word_split import check_split, split_words


@pytest.fixture
def jieba() -> object:
    return pytest.importorskip("jieba", reason="needs jieba, as of layerwise[jieba]", exc_type=ImportError)


@pytest.fixture
def without_jieba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    segmenter._library.cache_clear()
    segmenter._tokenizer.cache_clear()
    monkeypatch.setitem(sys.modules, "jieba", None)
    yield
    segmenter._library.cache_clear()
    segmenter._tokenizer.cache_clear()


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in split_words(text, "jieba")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("我在北京大学学习。", ["我", "在", "北京大学", "学习", "。"]),
        ("用BERT模型，2023年", ["用", "BERT", "模型", "，", "2023", "年"]),
        ("北京 大学", ["北京", "大学"]),
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("北\ufe00京大\u0301学", ["北\ufe00京大\u0301学"]),
        ("ひらがな", ["ひらがな"]),
        ("房间🙂很好", ["房间", "🙂", "很", "好"]),
    ],
)
def test_examples(jieba: object, text: str, expected: list[str]) -> None:
    assert words(text) == expected


CHINESE = "我们在北京大学学习自然语言处理中文分词很好的，。 aB1\n\ufe00\u0301\u200dあ🙂\ud800"


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from(CHINESE), max_size=40))
def test_words_are_joined_characters_and_nothing_else_changes(text: str) -> None:
    """Each word is one of the default splitter, or several of its CJK characters that follow each other."""
    pytest.importorskip("jieba", exc_type=ImportError)
    plain = split_words(text)
    borders = split_words(text, "jieba")
    starts, ends = {start for start, _ in plain}, {end for _, end in plain}
    assert [end for _, end in borders][:-1] <= [start for start, _ in borders][1:]
    for start, end in borders:
        assert start in starts
        assert end in ends
        inside = [pair for pair in plain if start <= pair[0] < end]
        assert all(a[1] == b[0] for a, b in itertools.pairwise(inside))
        assert len(inside) == 1 or all("\u4e00" <= text[a] <= "\u9fff" for a, _ in inside)
    covered = [pair for start, end in borders for pair in plain if start <= pair[0] < end]
    assert covered == plain, "no word is lost"


def test_it_is_jieba_with_its_own_dictionary(jieba: object) -> None:
    """jieba's own cut of a run of characters; dictionaries that a user adds don't change what is stored."""
    import jieba as library

    own = library.Tokenizer()
    own.FREQ, own.total = own.gen_pfdict(own.get_dict_file())
    own.initialized = True
    text = "小明硕士毕业于中国科学院计算所后在日本京都大学深造"
    assert words(text) == list(own.cut(text))
    before = words("石墨烯电池技术")
    library.dt.FREQ = {}
    library.dt.add_word("石墨烯电池技术")
    library.dt.initialized = False
    assert words("石墨烯电池技术") == before


def test_nothing_is_written_or_read_beside_the_dictionary(
    jieba: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """jieba's own start takes a cache from the folder of temporary files, where others may have put it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    segmenter._tokenizer.cache_clear()
    assert words("北京大学") == ["北京大学"]
    assert not list(tmp_path.iterdir())


def test_without_jieba_the_pip_line_is_given_before_the_work(
    without_jieba: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        RequestError, match=r"word_split='jieba' needs jieba; .*pip install 'layerwise\[jieba\]'"
    ):
        check_split("jieba")
    source = tmp_path / "texts.txt"
    source.write_text("北京\n", encoding="utf-8")
    for command in (["show", "北京"], ["extract", str(source), "--out", str(tmp_path / "out")]):
        # The model isn't there either: the first fault is told.
        assert main([*command, "--level", "word", "--word-split", "jieba", "--model", "nobody/nothing"]) == 2
        assert capsys.readouterr().err == (
            "layerwise: --word-split jieba needs jieba; install it with pip install 'layerwise[jieba]'\n"
        )
    assert not (tmp_path / "out").exists()
    assert split_words("北京") == [(0, 1), (1, 2)]


def test_another_split_is_refused() -> None:
    with pytest.raises(RequestError, match="'words' doesn't exist; choose one of chars, jieba"):
        check_split("words")
