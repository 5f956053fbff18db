"""JSONL: broken lines, wrong types, lone surrogates, values per word."""

import json
from pathlib import Path
from typing import Any

import pytest

from layerwise.errors import SourceError
from layerwise.read import Example, open_corpus


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(*records: Any, **options: Any) -> list[Example]:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    Path("a.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="")
    return list(open_corpus("a.jsonl", **options))


def test_every_other_column_is_carried() -> None:
    record = {
        "text": "hi",
        "n": 1,
        "x": 0.5,
        "yes": True,
        "none": None,
        "list": [1, 2],
        "object": {"a": ["b"]},
    }
    [example] = read(record)
    assert example.columns == {key: value for key, value in record.items() if key != "text"}
    assert (example.text, example.line, example.source, example.id) == ("hi", 1, "a.jsonl", None)


def test_lines_of_whitespace_are_passed_over_and_counted() -> None:
    found = read({"text": "a"}, "", "  \t\r", {"text": ""}, "")
    assert [(e.text, e.line) for e in found] == [("a", 1), ("", 4)]


def test_json_is_what_python_takes_for_it_and_nan_is_missing() -> None:
    [example] = read('{"text": "b", "n": NaN, "i": -Infinity, "t": "x\u2028y\x85z"}')
    assert example.text == "b"
    assert repr(dict(example.columns)) == repr({"n": None, "i": float("-inf"), "t": "x\u2028y\x85z"})


@pytest.mark.parametrize(
    "fields", ['"text": "a", "text": "b"', '"text": "a", "n": [{"k": 1, "j": 2, "k": 1}]']
)
def test_a_key_that_stands_twice_is_told(fields: str) -> None:
    key = "k" if "k" in fields else "text"
    for name, content in (
        ("a.jsonl", f'{{"text": "x"}}\n{{{fields}}}\n'),
        ("a.json", f'[{{"text": "x"}}, {{{fields}}}]'),
    ):
        Path(name).write_text(content, encoding="utf-8")
        with pytest.raises(
            SourceError, match=rf"(line|record) 2: the key '{key}' stands twice in an object; rename"
        ):
            list(open_corpus(name))
        corpus = open_corpus(name, skip_bad=True)
        assert ([e.text for e in corpus], [bad.line for bad in corpus.skipped]) == (["x"], [2])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"text": "hi"', r"line 2: no JSON \(Expecting ',' delimiter at column 14\)"),
        ("hello", "line 2: no JSON"),
        ("[1, 2]", r"line 2: \[1, 2\] where a JSON object is needed"),
        ("null", "line 2: None where a JSON object is needed"),
        ('{"text": null}', "line 2: column 'text' holds null where a text is needed"),
        ('{"text": 7}', "line 2: column 'text' holds the int 7 where a text is needed"),
        ('{"text": ["a"]}', r"line 2: column 'text' holds the list \['a'\]"),
        (
            '{"body": "b"}',
            "line 2: there is no column 'text', only 'body'; .*with text, or a column of words with words",
        ),
        ('{"text": "a", "n": 1' + "0" * 5000 + "}", "line 2: JSON that can't be read"),
        ('{"text": "a", "n": 12345678901234567890}', "line 2: the integer 1234567890.* 64 bits"),
        ("[" * 100_000, "line 2: "),
    ],
)
def test_bad_lines(line: str, what: str) -> None:
    with pytest.raises(SourceError, match=rf"^a\.jsonl, {what}"):
        read({"text": "fine"}, line)
    assert [e.line for e in read({"text": "fine"}, line, {"text": "too"}, skip_bad=True)] == [1, 3]


def test_lone_surrogates_are_replaced_everywhere() -> None:
    lone = '{"text": "a\\ud800b", "id": "\\udc00", "c": "\\ud83d", "l": ["x\\ud800"], '
    lone += '"o": {"k\\ud800": ["\\udfff"]}}'
    [example] = read(lone, id="id")
    assert (example.text, example.id) == ("a\ufffdb", "\ufffd")
    assert example.columns == {"c": "\ufffd", "l": ["x\ufffd"], "o": {"k\ufffd": ["\ufffd"]}}
    [example] = read('{"w": ["\\ud800", "\\ud83d\\ude00"], "t\\ud800": ["\\udc01", "b"]}', words="w")
    assert example.words == ("\ufffd", "😀")
    assert example.word_columns == {"t\ufffd": ("\ufffd", "b")}


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ([1, "a"], ("integer", "string")),
        (["a", None, 1.5], ("string", "number")),
        ([True, 1], ("boolean", "integer")),
        ([[1], 1], ("list of integer", "integer")),
        ([[1], ["a"]], ("list of integer", "list of string")),
        ([{"a": 1}, {"a": "x"}], ("object", "object")),
        ([{"a": 1}, [1]], ("object", "list of integer")),
    ],
)
def test_a_column_keeps_its_type(values: list[Any], kinds: tuple[str, str]) -> None:
    records = [{"text": "t", "col": value} for value in values]
    with pytest.raises(SourceError) as caught:
        read(*records)
    before, here = kinds
    start = f"a.jsonl, line {len(values)}: column 'col' changes its type: "
    assert str(caught.value).startswith(f"{start}{before} before, {here} here")


@pytest.mark.parametrize(
    "values",
    [[1, 2.5, None, 3], [None, "a", None], [[], [1], [None, 0.5]], [{"a": 1}, {"b": "x"}, {"a": None}, None]],
)
def test_types_that_go_together(values: list[Any]) -> None:
    assert [e.columns["col"] for e in read(*({"text": "t", "col": v} for v in values))] == values


def test_a_list_of_several_types_is_refused() -> None:
    with pytest.raises(SourceError, match=r"a\.jsonl, line 1: column 'c' mixes integer and string in a list"):
        read({"text": "t", "c": [1, "a"]})


def test_a_bad_record_settles_nothing() -> None:
    found = read({"text": "a", "n": None}, {"text": 1, "n": "x"}, {"text": "b", "n": 2}, skip_bad=True)
    assert [e.columns["n"] for e in found] == [None, 2]
    found = read(
        {"w": ["a"], "x": [1], "y": ["p", 1]}, {"w": ["a"], "x": "text", "y": "q"}, words="w", skip_bad=True
    )
    assert [dict(e.columns) for e in found] == [{"x": "text", "y": "q"}]


def test_keys_may_be_missing_here_and_there() -> None:
    assert [dict(e.columns) for e in read({"text": "a", "n": 1}, {"text": "b"})] == [{"n": 1}, {}]


def test_words() -> None:
    first, second = read({"w": ["Hello", ",", "a b"], "text": "t"}, {"w": []}, words="w")
    assert (first.text, first.words) == ("Hello , a b", ("Hello", ",", "a b"))
    assert first.columns == {"source.text": "t"}
    assert (second.text, second.words) == ("", ())


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("a b", "the str 'a b' where a list of words"),
        (None, "null where a list"),
        (["a", None], "null among its words"),
    ],
)
def test_bad_words(value: Any, what: str) -> None:
    with pytest.raises(SourceError, match=f"line 2: column 'w' holds {what}"):
        read({"w": ["fine"]}, {"w": value}, words="w")


def test_a_list_as_long_as_the_words_is_one_value_per_word() -> None:
    records = [
        {"w": [], "tags": [], "topics": None, "n": 1},
        {"w": ["a", "b"], "tags": None, "topics": None, "n": 2},
        {"w": ["a", "b"], "tags": ["X", "Y"], "topics": ["p"], "n": 3},
        {"w": ["a"], "tags": ["Z"], "topics": ["q"], "n": 4},
        {"w": ["a"], "tags": None, "topics": [], "n": None},
        {"w": [], "tags": [], "topics": ["r"], "n": 5},
    ]
    found = read(*records, words="w")
    assert [dict(e.word_columns) for e in found] == [
        {},
        {},
        {"tags": ("X", "Y")},
        {"tags": ("Z",)},
        {"tags": (None,)},
        {"tags": ()},
    ]
    assert [e.columns.get("topics") for e in found] == [None, None, ["p"], ["q"], [], ["r"]]
    assert [e.columns["n"] for e in found if "n" in e.columns] == [1, 2, 3, 4, None, 5]


def test_a_value_per_word_stays_one() -> None:
    with pytest.raises(SourceError, match=r"^a\.jsonl, line 2: column 'tags' has 1 values for 2 words"):
        read({"w": ["a"], "tags": ["X"]}, {"w": ["a", "b"], "tags": ["Y"]}, words="w")


def test_a_missing_column_is_refused_before_anything_is_read() -> None:
    Path("a.jsonl").write_text('{"body": "x"}\n', encoding="utf-8")
    for options in ({}, {"text": "title"}, {"words": "title"}, {"text": "body", "id": "title"}):
        with pytest.raises(SourceError, match=r"a\.jsonl: there is no column '(text|title)', only 'body'"):
            open_corpus("a.jsonl", **options)


def test_files_with_other_columns_are_refused() -> None:
    Path("a.jsonl").write_text('{"text": "x", "label": 1}\n' * 3, encoding="utf-8")
    Path("b.jsonl").write_text('{"text": "x", "class": 1}\n' * 3, encoding="utf-8")
    Path("c.jsonl").write_text('{"text": "x"}\n{"text": "x", "label": 2, "rare": 1}\n', encoding="utf-8")
    with pytest.raises(SourceError, match=r"b\.jsonl has other columns than a\.jsonl .*'label'.*'class'"):
        open_corpus(["a.jsonl", "b.jsonl"])
    assert len(list(open_corpus(["a.jsonl", "c.jsonl"]))) == 5
