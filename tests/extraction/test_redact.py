"""extract --redact: nothing of the replaced spans is stored, and later texts are redacted likewise."""

import gzip
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.encode.token_classifier import _joined
from layerwise.errors import DatasetError, HeadError, LayerwiseError, ModelError, RequestError, SourceError
from layerwise.example import Example
from layerwise.heads.redactors import open_redactor
from layerwise.read.presidio import Presidio, _engine
from layerwise.read.redaction import PersonalSpan, apart, original_span, redacted, whole_words

SECRET = "Zyxwina"
ROWS: list[dict[str, Any]] = [
    {"text": f"a letter by {SECRET} from far", "id": "x", "label": "a"},
    {"text": "nobody writes here", "id": "y", "label": "b"},
    {"text": f"{SECRET} and {SECRET}", "id": "z", "label": "a"},
    {"text": "the old ship", "id": "w", "label": "b"},
]
SPANS: list[dict[str, Any]] = [
    {"id": "x", "start": 12, "end": 19, "label": "PERSON"},
    {"id": "z", "start": 0, "end": 7, "label": "PERSON"},
    {"id": "z", "start": 12, "end": 19, "label": "PERSON"},
]
EXPECTED = ["a letter by [PERSON] from far", "nobody writes here", "[PERSON] and [PERSON]", "the old ship"]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return jsonl(tmp_path / "rows.jsonl", ROWS)


@pytest.fixture
def spans(tmp_path: Path) -> Path:
    return jsonl(tmp_path / "spans.jsonl", SPANS)


def extracted(source: Any, out: Path, encoder_of: Callable[[str], Any], **options: Any) -> Any:
    return lw.extract(source, out, model=encoder_of("bert"), dtype="float32", **({"id": "id"} | options))


def holds(folder: Path, text: str) -> bool:
    return any(text.encode() in file.read_bytes() for file in folder.rglob("*") if file.is_file())


# --- the replacing ----------------------------------------------------------------------------------------


def test_spans_become_their_kind() -> None:
    example = redacted(
        Example("é: Ann met Bo."), [PersonalSpan(3, 6, "PERSON"), PersonalSpan(11, 13, "PERSON")]
    )
    assert example.text == "é: [PERSON] met [PERSON]."
    assert example.redacted == ("PERSON", "PERSON")


def test_words_are_replaced_one_by_one_and_keep_their_columns() -> None:
    example = Example(
        "Ann Lee met Bo", ("Ann", "Lee", "met", "Bo"), word_columns={"tag": ("B", "I", "O", "B")}
    )
    out = redacted(example, [PersonalSpan(0, 7, "PERSON")])
    assert out.words == ("[PERSON]", "[PERSON]", "met", "Bo")
    assert out.text == "[PERSON] [PERSON] met Bo"
    assert out.word_columns == example.word_columns


def test_overlapping_finds_are_one_span_of_the_longest_kind() -> None:
    assert apart(
        [PersonalSpan(5, 9, "B"), PersonalSpan(0, 7, "A"), PersonalSpan(20, 22, "C"), PersonalSpan(9, 9, "D")]
    ) == [
        PersonalSpan(0, 9, "A"),
        PersonalSpan(20, 22, "C"),
    ]
    assert apart([PersonalSpan(0, 3, "A"), PersonalSpan(3, 6, "B")]) == [
        PersonalSpan(0, 3, "A"),
        PersonalSpan(3, 6, "B"),
    ]


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("to Zyxwina, here", (3, 5), "to [P], here"),
        ("to Zyxwina, here", (8, 11), "to [P] here"),
        ("昨天王小明来了", (2, 4), "昨天[P]明来了"),
        ("スミスさんは", (0, 3), "[P]さんは"),
        ("a 👩\u200d👧 b", (2, 3), "a [P]\u200d👧 b"),
        ("e\u0301a b", (1, 2), "[P] b"),
        ("a  b", (1, 3), "a[P]b"),
        ("", (0, 0), ""),
    ],
)
def test_spans_cover_whole_words(text: str, span: tuple[int, int], expected: str) -> None:
    """A part of a name would tell the rest of it; where no blanks part words, letters stand alone."""
    spans = whole_words(text, [PersonalSpan(*span, "P")])
    assert redacted(Example(text), spans).text == expected


@pytest.mark.parametrize("words", [None, ("Ann", "Lee", "met", "Bo", "there")])
def test_spans_of_redacted_texts_are_found_in_the_original_ones(words: tuple[str, ...] | None) -> None:
    """What isn't replaced has the same characters in both; any part of a kind stands for all that it replaced."""
    text = "Ann Lee met Bo there"
    out = redacted(Example(text, words), [PersonalSpan(0, 7, "PERSON"), PersonalSpan(12, 14, "P")])
    for start in range(len(out.text)):
        for end in range(start + 1, len(out.text) + 1):
            begin, after = original_span(out, start, end)
            if (
                "[" not in out.text[start:end]
                and "]" not in out.text[start:end]
                and " " in out.text[start:end]
            ):
                assert text[begin:after] == out.text[start:end]
    person = out.text.index("[PERSON]")
    expected = (0, 7) if words is None else (0, 3)
    assert original_span(out, person, person + len("[PERSON]")) == expected
    assert original_span(out, person + 1, person + 3) == expected
    assert original_span(out, 0, len(out.text)) == (0, len(text))


# --- a file of spans --------------------------------------------------------------------------------------


def test_the_dataset_holds_only_redacted_texts(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    dataset = extracted(source, tmp_path / "d.lw", encoder_of, redact=spans, level="word")
    assert dataset.texts["text"].to_pylist() == EXPECTED
    for row in dataset.index.to_pylist():
        assert EXPECTED[row["doc"]][row["start"] : row["end"]] == row["text"]
    assert dataset.manifest.redacted == {"PERSON": 3}
    assert dataset.manifest.settings.redact.kind == "file"
    assert any("redacted by a file of spans before" in notice for notice in dataset.manifest.notices)
    assert not holds(tmp_path / "d.lw", SECRET)
    plain = extracted(
        [{"text": text} for text in EXPECTED], tmp_path / "p.lw", encoder_of, id=None, level="word"
    )
    for layer in dataset.layers:
        assert (dataset.layer(layer) == plain.layer(layer)).all()
    assert lw.verify(tmp_path / "d.lw").ok
    pooled = lw.pool(tmp_path / "d.lw", out=tmp_path / "t.lw")
    assert pooled.manifest.redacted == {"PERSON": 3}


def test_the_same_command_again_does_nothing_and_other_spans_are_noticed(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    extracted(source, tmp_path / "d.lw", encoder_of, redact=spans)
    before = (tmp_path / "d.lw" / "manifest.json").read_bytes()
    extracted(source, tmp_path / "d.lw", encoder_of, redact=spans)
    assert (tmp_path / "d.lw" / "manifest.json").read_bytes() == before
    with pytest.raises(LayerwiseError, match="has changed since"):
        extracted(source, tmp_path / "d.lw", encoder_of, redact=jsonl(spans, SPANS[:1]))
    with pytest.raises(LayerwiseError, match="redact"):
        extracted(source, tmp_path / "d.lw", encoder_of)


def test_appending_to_spans_of_a_file_needs_a_file(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    extracted(source, tmp_path / "d.lw", encoder_of, redact=spans)
    more = jsonl(tmp_path / "more.jsonl", [{"text": f"{SECRET} writes again", "id": "q", "label": "a"}])
    with pytest.raises(RequestError, match="redacted by a file of spans"):
        extracted(more, tmp_path / "d.lw", encoder_of, append=True)
    others = jsonl(tmp_path / "others.jsonl", [{"doc": 0, "start": 0, "end": 7, "label": "NAME"}])
    dataset = extracted(more, tmp_path / "d.lw", encoder_of, append=True, redact=others)
    assert dataset.manifest.redacted == {"NAME": 1, "PERSON": 3}
    assert not holds(tmp_path / "d.lw", SECRET)


def test_texts_are_not_read_again_without_redaction(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    extracted(source, tmp_path / "d.lw", encoder_of, redact=spans)
    with pytest.raises(RequestError, match="were redacted when they were read"):
        lw.verify(tmp_path / "d.lw", source=source)


def test_damaged_shards_are_not_made_again_without_redaction(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    dataset = extracted(source, tmp_path / "d.lw", encoder_of, redact=spans)
    (tensors,) = (dataset.path / dataset.manifest.shards.name).parent.glob("shards/*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="can't be made again: its texts were redacted"):
        lw.repair(dataset.path)


def test_redacted_and_plain_datasets_are_not_merged(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    datasets = [
        extracted(source, tmp_path / "a.lw", encoder_of, redact=spans),
        extracted([{"text": f"{SECRET} again", "id": "q"}], tmp_path / "b.lw", encoder_of),
        extracted([{"text": "at sea", "id": "r"}], tmp_path / "c.lw", encoder_of, redact=spans),
    ]
    with pytest.raises(DatasetError, match="redact is .* in the first and not set in the second"):
        lw.merge(datasets[:2], tmp_path / "m.lw")
    assert not (tmp_path / "m.lw").exists()
    merged = lw.merge(datasets[::2], tmp_path / "m.lw")
    assert merged.manifest.redacted == {"PERSON": 3}


def test_bad_records_are_not_quoted(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    with source.open("a") as file:
        file.write(json.dumps({"text": [SECRET], "id": "v"}) + "\n")
    dataset = extracted(source, tmp_path / "d.lw", encoder_of, redact=spans, skip_bad=True)
    assert len(dataset.manifest.skipped) == 1
    assert not holds(tmp_path / "d.lw", SECRET)


def test_spans_of_no_text_are_told_of(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    jsonl(spans, [*SPANS, {"id": "gone", "start": 0, "end": 3, "label": "PERSON"}])
    dataset = extracted(source, tmp_path / "d.lw", encoder_of, redact=spans)
    assert any("is not in the source" in notice for notice in dataset.manifest.notices)


def test_a_file_without_any_span_of_these_texts_is_told_of(
    source: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    dataset = extracted(source, tmp_path / "d.lw", encoder_of, redact=jsonl(tmp_path / "none.jsonl", []))
    assert any("No span of any text was replaced" in notice for notice in dataset.manifest.notices)
    assert dataset.manifest.redacted == {}


def test_files_of_spans_may_have_a_mark_and_line_separators_in_ids(
    tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    """A byte order mark at the beginning, and U+2028, which ends no line of JSON."""
    name = "a\u2028b"
    spans = tmp_path / "spans.jsonl"
    span = {"id": name, "start": 0, "end": 3, "label": "PERSON"}
    spans.write_text("\ufeff" + json.dumps(span, ensure_ascii=False) + "\r\n", encoding="utf-8", newline="")
    dataset = extracted([{"text": "Ann writes", "id": name}], tmp_path / "d.lw", encoder_of, redact=spans)
    assert dataset.texts["text"].to_pylist() == ["[PERSON] writes"]


def test_files_of_spans_may_be_compressed(
    source: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    spans = tmp_path / "spans.jsonl.gz"
    spans.write_bytes(gzip.compress("\r\n".join(map(json.dumps, SPANS)).encode()))
    dataset = extracted(source, tmp_path / "d.lw", encoder_of, redact=spans)
    assert dataset.texts["text"].to_pylist() == EXPECTED


def test_an_id_of_two_texts_names_none(tmp_path: Path, encoder_of: Callable[[str], Any]) -> None:
    """The two texts of a pair have one id; their numbers tell them apart."""
    rows = [{"a": f"by {SECRET}", "b": f"{SECRET} again", "id": "x"}, {"a": "one", "b": "two", "id": "y"}]
    spans = jsonl(tmp_path / "spans.jsonl", [{"id": "x", "start": 3, "end": 10, "label": "PERSON"}])
    with pytest.raises(RequestError, match="texts 0 and 1 both have"):
        extracted(rows, tmp_path / "d.lw", encoder_of, redact=spans, text=("a", "b"))
    by_number = [
        {"doc": 0, "start": 3, "end": 10, "label": "PERSON"},
        {"doc": 1, "start": 0, "end": 7, "label": "PERSON"},
    ]
    dataset = extracted(rows, tmp_path / "d.lw", encoder_of, redact=jsonl(spans, by_number), text=("a", "b"))
    assert dataset.texts["text"].to_pylist()[:2] == ["by [PERSON]", "[PERSON] again"]


def test_numbers_of_texts_are_refused_where_bad_records_were_skipped(
    source: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    """They would name other texts from there on, whose secrets would stay."""
    source.write_text(json.dumps({"text": ["no text"], "id": "v"}) + "\n" + source.read_text())
    spans = jsonl(tmp_path / "spans.jsonl", [{"doc": 1, "start": 12, "end": 19, "label": "PERSON"}])
    with pytest.raises(RequestError, match="name texts by doc"):
        extracted(source, tmp_path / "d.lw", encoder_of, redact=spans, skip_bad=True)
    assert not holds(tmp_path / "d.lw", SECRET)


def test_the_counts_are_shown(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any], capsys: Any
) -> None:
    extracted(source, tmp_path / "d.lw", encoder_of, redact=spans)
    assert main(["info", str(tmp_path / "d.lw")]) == 0
    assert "PERSON 3, by a file of spans" in capsys.readouterr().out


def test_without_texts_the_command_that_measures_is_one_that_works(
    source: Path, spans: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    """`analyze --source` would read the texts as they are."""
    dataset = extracted(source, tmp_path / "d.lw", encoder_of, redact=spans, level="token", no_text=True)
    (notice,) = (text for text in dataset.manifest.notices if "measure leakage" in text)
    assert "--source" not in notice
    assert "extract once more with the redacted texts stored" in notice


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "x", "start": 12, "end": 99, "label": "P"}], "ends after the text"),
        ([SPANS[0], {"id": "x", "start": 15, "end": 20, "label": "P"}], "line 2 (15 to 20) overlaps"),
        ([SPANS[0], {"id": "x", "start": 2, "end": 5, "label": "P"}], "line 2 (2 to 5) is out of order"),
        ([{"id": "x", "start": -1, "end": 5, "label": "P"}], "line 1 is no span"),
        ([{"id": "x", "start": 5, "end": 5, "label": "P"}], "line 1 is no span"),
        ([{"id": "x", "start": True, "end": 5, "label": "P"}], "line 1 is no span"),
        ([{"id": "x", "start": 1, "end": 5, "label": "a]\n"}], "line 1 is no span"),
        ([{"id": "x", "doc": 1, "start": 1, "end": 5, "label": "P"}], "line 1 is no span"),
        ([{"start": 1, "end": 5, "label": "P"}], "line 1 is no span"),
        ([{"id": "x", "start": 1, "end": 10**300, "label": "P"}], "line 1 is no span"),
        ([{"doc": -1, "start": 1, "end": 5, "label": "P"}], "line 1 is no span"),
        ([{"doc": "first", "start": 1, "end": 5, "label": "P"}], "line 1 is no span"),
        (
            [SPANS[0], {"doc": "0", "start": 15, "end": 20, "label": "P"}],
            "15 to 20 of text 0 overlaps the span",
        ),
        ([{"doc": True, "start": 1, "end": 5, "label": "P"}], "line 1 is no span"),
        ([{"id": ["x"], "start": 1, "end": 5, "label": "P"}], "line 1 is no span"),
    ],
)
def test_bad_spans_are_refused(
    source: Path,
    tmp_path: Path,
    rows: list[dict[str, Any]],
    said: str,
    encoder_of: Callable[[str], Any],
) -> None:
    with pytest.raises((SourceError, RequestError)) as error:
        extracted(source, tmp_path / "d.lw", encoder_of, redact=jsonl(tmp_path / "bad.jsonl", rows))
    assert said in str(error.value)
    assert SECRET not in str(error.value)
    assert not (tmp_path / "d.lw" / "manifest.json").exists()


def test_what_is_none_of_the_kinds_is_refused(tmp_path: Path, source: Path, capsys: Any) -> None:
    command = ["extract", str(source), "--out", str(tmp_path / "d.lw"), "--redact", "nothing"]
    assert main(command) == 2
    assert "--redact nothing is none of these: presidio" in capsys.readouterr().err
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="JSON lines"):
        open_redactor(tmp_path / "binary")


# --- presidio ---------------------------------------------------------------------------------------------


def test_presidio_finds_patterns_with_a_blank_pipeline(
    tmp_path: Path, encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers and addresses are examples of the standards themselves."""
    rows = [{"text": "write to jane@example.org now"}, {"text": "card 4111 1111 1111 1111, thanks"}]
    dataset = extracted(rows, tmp_path / "d.lw", encoder_of, id=None, redact="presidio:blank")
    assert dataset.texts["text"].to_pylist() == ["write to [EMAIL_ADDRESS] now", "card [CREDIT_CARD], thanks"]
    assert dataset.manifest.redacted == {"CREDIT_CARD": 1, "EMAIL_ADDRESS": 1}
    assert dataset.manifest.settings.redact.how == "presidio:blank"
    dataset = extracted([{"text": "or bo@example.org"}], tmp_path / "d.lw", encoder_of, id=None, append=True)
    assert dataset.texts["text"].to_pylist()[2] == "or [EMAIL_ADDRESS]"
    assert dataset.manifest.redacted == {"CREDIT_CARD": 1, "EMAIL_ADDRESS": 2}


def test_presidio_searches_texts_of_any_length() -> None:
    """spaCy refuses a million characters; the address stands where one window ends."""
    long = "word " * 19_998 + "jane@example.org " + "word " * 200_000
    (span,) = Presidio("presidio:blank").spans([Example(long)], 0)[0]
    assert long[span.start : span.end] == "jane@example.org"
    assert span.start < 100_000 < span.end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("请写信到jane@example.org谢谢。", "请写信到[EMAIL_ADDRESS]谢谢。"),
        ("请写信到：ｊａｎｅ＠ｅｘａｍｐｌｅ．ｏｒｇ。", "请写信到：[EMAIL_ADDRESS]。"),
        ("卡号4111111111111111已扣款", "卡号[CREDIT_CARD]已扣款"),
        ("服务器192.0.2.17不通", "服务器[IP_ADDRESS]不通"),
        ("jane@example.org로 보내세요", "[EMAIL_ADDRESS]로 보내세요"),
        ("schreib an jörg@example.org", "schreib an [EMAIL_ADDRESS]"),
        ("没有任何个人信息。", "没有任何个人信息。"),
    ],
)
def test_patterns_are_found_beside_letters_without_blanks(text: str, expected: str) -> None:
    """presidio's patterns end where a word ends, and Chinese writes no blanks between words."""
    (spans,) = Presidio("presidio:blank").spans([Example(text)], 0)
    assert redacted(Example(text), spans).text == expected


@pytest.mark.parametrize(("language", "unread"), [("zh", 0), ("en", 1)])
def test_names_in_chinese_need_a_model_of_chinese(language: str, unread: int, tmp_path: Path) -> None:
    """A pipeline with a rule in place of a trained model: it finds one name, in texts of its language."""
    import spacy

    pipeline = spacy.blank(language)
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "王小明"}])
    pipeline.to_disk(tmp_path / "pipeline")
    redactor = open_redactor(f"presidio:{tmp_path / 'pipeline'}")
    texts = [Example("昨天王小明写信到bo@example.org了"), Example("nobody writes")]
    of_chinese, of_english = redactor.spans(texts, 0)
    found = "[PERSON]" if language == "zh" else "王小明"
    assert redacted(texts[0], of_chinese).text == f"昨天{found}写信到[EMAIL_ADDRESS]了"
    assert of_english == []
    notices = redactor.end()
    assert len(notices) == unread
    assert all("1 text holds Chinese characters" in notice for notice in notices)
    assert open_redactor(f"presidio:{tmp_path / 'pipeline'}").end() == [], "another run counts its own texts"


def test_presidio_without_its_language_model_names_it() -> None:
    with pytest.raises(RequestError, match=r"'en_core_web_lg' of spaCy isn't installed.*presidio:blank"):
        open_redactor("presidio")
    with pytest.raises(RequestError, match="'no_such_model' of spaCy isn't installed"):
        open_redactor("presidio:no_such_model")


def test_without_presidio_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    _engine.cache_clear()
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(RequestError, match=r"pip install 'layerwise\[presidio\]'"):
        open_redactor("presidio:blank")


# --- heads and models -------------------------------------------------------------------------------------


def tagged(count: int) -> list[dict[str, Any]]:
    return [
        {"words": ["the", f"{SECRET}", "ship", str(n % 3)], "tag": ["O", "B-NAME", "O", "O"]}
        for n in range(count)
    ]


def test_a_head_for_tags_redacts_and_a_head_records_it(
    tmp_path: Path, encoder_of: Callable[[str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    words = lw.extract(tagged(24), tmp_path / "w.lw", model=encoder_of("bert"), words="words", level="word")
    tagger = tmp_path / "names.head"
    with pytest.raises(RequestError, match="none of these"):
        open_redactor(tagger)  # which isn't there yet
    lw.train(words, task="tag", label="tag", mix="1", out=tagger)
    rows = [{"text": f"the {SECRET} ship {n % 3}", "label": "ab"[n % 2]} for n in range(12)]
    dataset = extracted(rows, tmp_path / "d.lw", encoder_of, id=None, redact=tagger)
    assert dataset.texts["text"].to_pylist()[0] == "the [NAME] ship 0"
    assert dataset.manifest.redacted == {"NAME": 12}
    assert not holds(tmp_path / "d.lw", SECRET)
    head = lw.train(dataset, task="classify", label="label", mix="1", out=tmp_path / "c.head")
    assert head.rows["redact"]["kind"] == "head"
    head = lw.load_head(tmp_path / "c.head")
    with_name, without = head.predict([f"the {SECRET} ship 1", "the [NAME] ship 1"])
    assert with_name["probabilities"] == without["probabilities"]
    json_file = tagger / "head.safetensors"
    json_file.write_bytes(json_file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(HeadError):
        head.predict([f"the {SECRET} ship 1"])
    with pytest.raises(RequestError, match="needs a head with one task of tags"):
        open_redactor(tmp_path / "c.head")
    tagger.rename(tmp_path / "elsewhere")
    with pytest.raises(HeadError, match=r"names\.head, which is no folder here; put the folder there"):
        head.predict([f"the {SECRET} ship 1"])


def test_a_head_says_what_it_needs_to_redact(
    tmp_path: Path,
    encoder_of: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`predict` has no option to name another redactor, so no message names one."""
    rows = [{"text": f"to a{n}@example.org", "label": "ab"[n % 2]} for n in range(12)]
    source, head = jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "c.head"
    dataset = extracted(source, tmp_path / "d.lw", encoder_of, id=None, redact="presidio:blank")
    plain = extracted(source, tmp_path / "p.lw", encoder_of, id=None)
    lw.train(dataset, task="classify", label="label", mix="1", out=head)
    said = "\n".join(lw.evaluate(head, plain).tasks["label"].notes)
    assert "trained on texts redacted by presidio:blank, and those of" in said
    assert "p.lw are as they are" in said
    assert "redacted by" not in "\n".join(lw.evaluate(head, dataset).tasks["label"].notes)
    _engine.cache_clear()
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    for command in ("predict", "evaluate"):
        assert main([command, str(head), str(source), "--quiet"]) == 2
        said = capsys.readouterr().err
        assert "have to be redacted likewise: presidio:blank needs presidio; install it with pip" in said
        assert "--redact" not in said


def test_answers_of_redacted_texts_lie_in_the_texts_as_they_were(
    tmp_path: Path, encoder_of: Callable[[str], Any], capsys: Any
) -> None:
    """A head for tags that learned `[EMAIL_ADDRESS]`: its spans are those of the addresses, in every format."""
    rows = [
        {"words": ["write", "to", f"{name}@example.org", "now"], "tag": ["O", "O", "B-MAIL", "O"]}
        for name in ("jane", "bo", "al", "kim") * 6
    ]
    options: dict[str, Any] = {"words": "words", "level": "word", "redact": "presidio:blank"}
    dataset = lw.extract(rows, tmp_path / "d.lw", model=encoder_of("bert"), **options)
    assert dataset.texts["text"][0].as_py() == "write to [EMAIL_ADDRESS] now"
    lw.train(dataset, task="tag", label="tag", mix="1", out=tmp_path / "t.head")
    head = lw.load_head(tmp_path / "t.head")
    text = "write to jane@example.org now"
    (span,) = head.predict([text.split()])[0]["spans"]
    assert text[span["start"] : span["end"]] == "jane@example.org"
    assert span["text"] == "[EMAIL_ADDRESS]"
    (tmp_path / "one.txt").write_text(f"{text}\n")
    command = ["predict", str(tmp_path / "t.head"), str(tmp_path / "one.txt"), "--quiet", "--to"]
    assert main([*command, "jsonl"]) == 0
    for span in json.loads(capsys.readouterr().out)["spans"]:
        assert 9 <= span["start"] < span["end"] <= 25  # the words of `[EMAIL_ADDRESS]`, if any is found
    assert main([*command, "conll"]) == 0
    words = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines() if line]
    assert words == ["write", "to", "jane", "@", "example", ".", "org", "now"]


def test_a_head_of_texts_with_a_file_of_spans_says_that_it_cannot(
    source: Path,
    spans: Path,
    tmp_path: Path,
    encoder_of: Callable[[str], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    dataset = extracted(source, tmp_path / "d.lw", encoder_of, redact=spans)
    head = lw.train(dataset, task="classify", label="label", mix="1", out=tmp_path / "c.head")
    head.predict(["a text"])
    assert main(["predict", str(tmp_path / "c.head"), str(source), "--quiet"]) == 0
    assert "can't be redacted likewise" in caplog.text


def classifier_of(base: Path, folder: Path, labels: Sequence[str], change: Callable[[Any], None]) -> Path:
    """Write a token-classification model with random weights, changed by `change`."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(base)
    config.id2label, config.label2id = dict(enumerate(labels)), {label: n for n, label in enumerate(labels)}
    torch.manual_seed(3)
    model = transformers.AutoModelForTokenClassification.from_config(config)
    change(model)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def name_all(model: Any) -> None:
    """Let a classifier give every token its second label."""
    model.classifier.weight.data.zero_()
    model.classifier.bias.data[:] = 0.0
    model.classifier.bias.data[1] = 1.0


@pytest.fixture
def namer(tmp_path: Path, model_folder: Callable[[str], Path]) -> Path:
    """A folder with a tiny model that calls every token a name."""
    return classifier_of(model_folder("bert"), tmp_path / "ner", ["O", "B-NAME"], name_all)


def test_a_token_classification_model_redacts(
    namer: Path, tmp_path: Path, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    dataset = extracted([{"text": "old ship"}], tmp_path / "d.lw", encoder_of, id=None, redact=namer)
    assert dataset.texts["text"][0].as_py() == "[NAME] [NAME]", "each word begins a name"
    assert dataset.manifest.redacted == {"NAME": 2}
    assert dataset.manifest.settings.redact.kind == "model"
    long = "ship " * 200
    spans = open_redactor(namer).spans([Example(long)], 0)[0]
    assert spans[-1].end >= len(long.rstrip())  # windows reach the end
    before = open_redactor(namer).facts.sha256
    (namer / "config.json").write_text((namer / "config.json").read_text().replace("B-NAME", "B-SHIP"))
    changed = open_redactor(namer)
    assert changed.facts.sha256 != before
    assert {span.label for span in changed.spans([Example(long)], 0)[0]} == {"SHIP"}
    with pytest.raises(LayerwiseError, match="labels no tokens"):
        open_redactor(model_folder("bert"))


HARD_TEXTS = [
    "天气很好，王小明去了公园。",
    "ｊａｎｅ＠ｅｘａｍｐｌｅ．ｏｒｇ",
    "👩\u200d👩\u200d👧 Ann 🙂🙂 emoji",
    "naïve café, İstanbul",
    "a\u200db  Ann\u00a0Lee\n",
]


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "deberta-v2"])
def test_all_that_the_pipeline_of_transformers_finds_is_replaced(
    family: str, tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    """Words, bytes and sentence pieces, with random weights: ours are these spans, up to whole words, without blanks around."""
    import transformers

    def shake(model: Any) -> None:
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)

    torch = pytest.importorskip("torch")
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    folder = classifier_of(model_folder(family), tmp_path / "ner", labels, shake)
    pipeline = transformers.pipeline(
        "token-classification", model=str(folder), aggregation_strategy="simple", device="cpu"
    )
    redactor = open_redactor(folder)
    spans_of_texts = redactor.spans([Example(text) for text in HARD_TEXTS], 0)
    for text, spans in zip(HARD_TEXTS, spans_of_texts, strict=True):
        theirs = [PersonalSpan(e["start"], e["end"], e["entity_group"]) for e in pipeline(text)]
        stripped = [
            PersonalSpan(s.start + len(part) - len(part.lstrip()), s.start + len(part.rstrip()), s.label)
            for s in theirs
            for part in [text[s.start : s.end]]
            if part.strip()
        ]
        assert covered(spans) == covered(whole_words(text, stripped))
        assert all(text[s.start : s.end].strip() == text[s.start : s.end] for s in spans)
    assert redactor.spans([Example(""), Example(" \n")], 0) == [[], []]
    assert redactor.spans([Example("the old ship 🙂 " * 60)], 0)[0], "windows fit the table of positions"


def covered(spans: Sequence[PersonalSpan]) -> set[int]:
    """The places of the characters in some spans."""
    return {place for span in spans for place in range(span.start, span.end)}


def test_names_that_follow_each_other_are_counted_apart() -> None:
    labels = ["O", "B-PER", "I-PER", "I-PER", "B-PER", "I-PER", "B-LOC", "I-LOC", "O", "I-PER"]
    assert _joined("昨王小明李雷东京是谁", [(n, n + 1) for n in range(10)], labels) == [
        (1, 4, "PER"),
        (4, 6, "PER"),
        (6, 8, "LOC"),
        (9, 10, "PER"),
    ]
    assert _joined("a Bo Lee", [(0, 0), (0, 1), (1, 4), (4, 8)], ["B-X", "O", "PER", "PER"]) == [
        (2, 8, "PER")
    ]


@pytest.mark.parametrize(
    ("labels", "weights", "said"),
    [
        (["LABEL_0", "LABEL_1"], name_all, "LABEL_0, LABEL_1, and none is 'O'"),
        (["O", "B-NAME"], lambda model: model.classifier.bias.data.fill_(float("nan")), "aren't finite"),
        (["O", "B-NAME"], lambda model: setattr(model, "classifier", None), r"lack classifier\.\w+, which"),
    ],
)
def test_models_that_would_find_nothing_are_refused(
    labels: list[str],
    weights: Callable[[Any], None],
    said: str,
    tmp_path: Path,
    model_folder: Callable[[str], Path],
) -> None:
    """Random or missing numbers would leave all texts as they are, in silence."""
    folder = classifier_of(model_folder("bert"), tmp_path / "ner", labels, weights)
    with pytest.raises(ModelError, match=said):
        open_redactor(folder).spans([Example("old ship")], 0)


def test_a_head_for_tags_looks_at_all_words_of_long_texts(
    tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    """Also one that was trained on the beginnings of texts; others than heads of single texts are refused."""
    options: dict[str, Any] = {
        "model": encoder_of("bert"),
        "words": "words",
        "level": "word",
        "layers": "emb",
    }
    rows = [
        {name: 2 * values for name, values in row.items()} | {"letter": n // 4}
        for n, row in enumerate(tagged(24))
    ]
    lw.extract(rows, tmp_path / "w.lw", long="truncate", max_length=24, **options)
    lw.train(tmp_path / "w.lw", task="tag", label="tag", mix="emb", out=tmp_path / "w.head")
    text = f"the {SECRET} ship 1 " * 9
    (spans,) = open_redactor(tmp_path / "w.head").spans([Example(text)], 0)
    assert any(SECRET in text[span.start : span.end] and span.start > len(text) // 2 for span in spans)
    others: dict[str, dict[str, Any]] = {
        "c": {"context": "5", "document": "letter"},
        "r": {"redact": "presidio:blank"},
    }
    for name, extra in others.items():
        lw.extract(rows, tmp_path / f"{name}.lw", **options, **extra)
        lw.train(tmp_path / f"{name}.lw", task="tag", label="tag", mix="emb", out=tmp_path / f"{name}.head")
    with pytest.raises(RequestError, match=r"trained on single texts.*context"):
        open_redactor(tmp_path / "c.head")
    with pytest.raises(RequestError, match=r"those of this one were redacted"):
        open_redactor(tmp_path / "r.head")


# --- processes and interruptions --------------------------------------------------------------------------


@pytest.mark.slow
def test_workers_and_interruptions_change_no_byte(
    source: Path, namer: Path, tmp_path: Path, model_folder: Callable[[str], Path], quick_workers: None
) -> None:
    """Texts are redacted as they are read, before any worker has them."""

    def stop(progress: lw.Progress) -> None:
        if progress.texts and progress.texts > 2:
            raise KeyboardInterrupt

    options: dict[str, Any] = {
        "model": str(model_folder("bert")),
        "id": "id",
        "shard_texts": 1,
        "redact": namer,
    }
    lw.extract(source, tmp_path / "one.lw", **options)
    lw.extract(source, tmp_path / "two.lw", workers=2, **options)
    with pytest.raises(KeyboardInterrupt):
        lw.extract(source, tmp_path / "cut.lw", progress=stop, **options)
    assert not (tmp_path / "cut.lw" / "manifest.json").exists()
    assert not holds(tmp_path / "cut.lw", SECRET)
    lw.extract(source, tmp_path / "cut.lw", **options)
    expected = files(tmp_path / "one.lw")
    assert expected == files(tmp_path / "two.lw") == files(tmp_path / "cut.lw")
    assert lw.open_dataset(tmp_path / "cut.lw").manifest.redacted == {"NAME": 15}  # the words


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of the files of a dataset, but for the times of the run."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("run.json", ".lock")
    }
