"""A page in Chinese is whole in Chinese: pages of real results of every kind, read in a browser; and the files of a probe."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from browser import Opened, browser
from layerwise._util.display import score_digits
from layerwise.api.explore import served
from layerwise.cli.main import main
from layerwise.cutting.table import CutCost, CutTable
from layerwise.figures.language import can_draw
from layerwise.figures.markdown import probe_markdown
from layerwise.figures.page import as_json
from layerwise.figures.plots import geometry, heatmap, layer_curve, projection, weights
from layerwise.options import PageOptions
from layerwise.server.loopback import Loopback
from layerwise.wording import Message, catalogue, fixed, in_language, text_in

WORDS = ("天", "地", "人", "水", "火", "木", "金", "土")
# Two Latin words in sequence that a Chinese page may have: papers, commands, names of files and options.
ALLOWED = re.compile(
    r"[A-Z]\w+ (?:and \w+(?: \w+)? |et al\. )\d{4}|layerwise (?:probe|analyze|report|explore|extract|train)|--[\w-]+ \w+"
    r"|pip install [^\s]+|\b\d[\w.+]*|Roy and Vetterli|Timkey and van Schijndel|Facco et al"
)
ENGLISH = re.compile(r"[A-Za-z][A-Za-z']+[,;:]? [A-Za-z][A-Za-z']+")
SEEN = """() => {
  const texts = [document.title];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode())
    if (!walker.currentNode.parentElement.closest('script, style, noscript, .brand')) texts.push(walker.currentNode.data);
  for (const node of document.querySelectorAll('body *'))
    for (const name of ['aria-label', 'title', 'placeholder', 'alt', 'aria-description'])
      if (node.hasAttribute(name)) texts.push(node.getAttribute(name));
  return texts.map((text) => text.replace(/\\s+/g, ' ').trim()).filter(Boolean);
}"""


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as found:
        yield found


def english(texts: Iterator[str] | list[str], data: set[str]) -> list[str]:
    """Return the texts that hold English words, or are an English text of the catalogue; `data` are the user's."""
    chinese = catalogue("zh")
    whole = {text for key, text in catalogue("en").items() if text != chinese[key]} - data
    return sorted({text for text in texts if text in whole or ENGLISH.search(ALLOWED.sub(" ", text))} - data)


def lines_of(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    return [
        {
            "text": "".join(rng.choice(WORDS, 6)) if n > 3 else "天地天地天地",
            "kind": ["甲", "乙"][int(rng.integers(2))] if n > 1 else None,
            "value": float(rng.normal()),
            "part": f"p{n % 7}",
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> lw.LayerDataset:
    place = tmp_path_factory.mktemp("texts")
    rows = [*lines_of(60), {"text": "天" * 400, "kind": "丙", "value": 0.0, "part": "p0"}]
    (place / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lw.extract(place / "texts.jsonl", place / "texts.lw", model=encoder_of("bert"), long="truncate")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> lw.LayerDataset:
    place = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(6)
    lines = []
    for _sentence in range(40):
        for _ in range(5):
            word = str(rng.choice(WORDS))
            lines.append(f"{word} {'B-X' if word in WORDS[:3] else 'O'}")
        lines.append("")
    (place / "words.conll").write_text("\n".join(lines) + "\n")
    return lw.extract(place / "words.conll", place / "words.lw", model=encoder_of("bert"), level="word")


def results_of(
    dataset: lw.LayerDataset, place: Path, task: str, label: str, **options: Any
) -> dict[str, Any]:
    probed, analyzed = place / f"probe-{task}", place / f"analysis-{task}"
    lw.probe(
        dataset, task=task, label=label, quick=True, mix=["mean(1:)", "learned(all)"], out=probed, **options
    )
    label_of = label if task == "classify" else None
    lw.analyze(
        dataset, label=label_of, max_rows=30, out=analyzed, measure=["norm", "rank", "cka", "pwcca", "rogue"]
    )
    return {"probe": probed, "analysis": analyzed}


def read_all(started: Any, address: Any) -> list[str]:
    opened = Opened(started, address, wide=1440, high=900)
    try:
        opened.tab.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
        if opened.tab.locator("#compare-open").count():
            opened.tab.locator("#compare-open").click()
            opened.tab.evaluate("layerwise.scene.choose(2)")
            opened.wait("document.querySelector('#chosen .beside') !== null")
        opened.drawn()
        texts: list[str] = opened.tab.evaluate(SEEN)
        assert not opened.complaints
        return texts
    finally:
        opened.context.close()


COSTS = CutTable(
    {"id": "mine"},
    (CutCost("1", 1, 10, 40, 1000.5), CutCost("2", 2, 20, 80, 500.25, 0.8, 0.7, 0.9, coarse=True)),
    texts=3,
    tokens=30,
    rounds=1,
    device="cpu",
    label="kind",
    metric="accuracy",
    notes=(Message("note.cut.table.left", layers=["emb"]),),
)
DATA = {"kind", "value", "part", "tag", "tags", "text", "texts.lw", "words.lw", "mean", "emb", "label"}


@pytest.mark.parametrize(
    ("task", "label"), [("classify", "kind"), pytest.param("regress", "value", marks=pytest.mark.slow)]
)
def test_a_page_of_texts_is_whole_in_chinese(
    texts: lw.LayerDataset, started: Any, tmp_path: Path, task: str, label: str
) -> None:
    results = results_of(texts, tmp_path, task, label, max_rows=50)
    options: dict[str, Any] = {"attention": True, "costs": COSTS} if task == "classify" else {}
    path = lw.report(texts, tmp_path / "page.html", lang="zh", **results, **options)
    seen = read_all(started, path)
    assert any("抽样" in text for text in seen), "a note that Python writes"
    assert any("不能在这些层截断" in text for text in seen) == ("costs" in options)
    assert english(seen, DATA) == []


@pytest.mark.slow
def test_a_page_across_languages_is_whole_in_chinese(
    started: Any, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    rng = np.random.default_rng(7)
    texts = ["".join(rng.choice(WORDS, 6)) for _ in range(40)]
    rows = [
        {"text": f"{text}{end}", "kind": ["甲", "乙"][n % 2], "side": side, "pair": n, "part": part}
        for side, end, part in (("左", "一", "train"), ("右", "二", "test"))
        for n, text in enumerate(texts)
    ]
    rows[0]["side"] = "中"
    dataset = lw.extract(rows, tmp_path / "sides.lw", model=encoder_of("bert"))
    probe = lw.probe(
        dataset, task="classify", label="kind", split="part", centre="side", quick=True, mix=[],
        out=tmp_path / "probe",
    )  # fmt: skip
    measures = ["retrieval", "language_probe"]
    lw.analyze(dataset, pairs="pair", sides="side", measure=measures, out=tmp_path / "analysis")
    lw.align(
        [tuple(text) for text in texts], [tuple(text * 40) for text in texts], model=encoder_of("bert"),
        layers=1, out=tmp_path / "links",
    )  # fmt: skip
    results: dict[str, Any] = {name: tmp_path / name for name in ("probe", "analysis", "links")}
    seen = read_all(started, lw.report(dataset, tmp_path / "page.html", lang="zh", **results))
    assert probe.transfer is not None
    for note in (probe.transfer.text, *probe.notes):
        assert text_in(note, "zh") in " ".join(seen)
    for words in ("前 30 个句对", "第二侧有 40 个词", "没有检索建议"):
        assert any(words in text for text in seen), words
    assert english(seen, DATA | {"side", "pair"}) == []


@pytest.mark.slow
def test_a_page_of_tags_and_of_labels_from_a_file_is_whole_in_chinese(
    words: lw.LayerDataset, started: Any, tmp_path: Path
) -> None:
    results = results_of(words, tmp_path, "tag", "tag")
    labels = tmp_path / "labels.csv"
    labels.write_text("mood\n" + "甲\n" * 20 + "乙\n" * 20)
    with pytest.warns(UserWarning, match="joined to the texts by their order"):
        path = lw.report(words, tmp_path / "page.html", lang="zh", labels_from=labels, **results)
    seen = read_all(started, path)
    assert any("按顺序与文本对应" in text for text in seen)
    assert english(seen, DATA | {"mood"}) == []


def test_a_page_without_results_or_texts_is_whole_in_chinese(
    started: Any, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"text": row["text"]}) + "\n" for row in lines_of(12))
    )
    dataset = lw.extract(
        tmp_path / "texts.jsonl", tmp_path / "texts.lw", model=encoder_of("bert"), no_text=True
    )
    path = lw.report(dataset, tmp_path / "page.html", lang="zh")
    seen = read_all(started, path)
    assert any("数据集不含文本" in text for text in seen)
    assert english(seen, DATA) == []


@pytest.mark.slow
def test_a_served_page_is_whole_in_chinese(texts: lw.LayerDataset, started: Any, tmp_path: Path) -> None:
    results = results_of(texts, tmp_path, "classify", "kind")
    page, answer = served(texts, PageOptions(lang="zh", **results))
    with Loopback(page, answer, 0) as server:
        import threading

        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        assert english(read_all(started, server.url), DATA) == []


def test_the_files_and_the_terminal_of_a_probe_are_whole_in_chinese(
    texts: lw.LayerDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "probe"
    command = ["probe", str(texts.path), "--task", "classify", "--label", "kind", "--quick", "--lang", "zh"]
    assert main([*command, "--mix", "learned(all)", "--out", str(out), "--quiet"]) == 0
    printed = capsys.readouterr()
    lines = [
        re.sub(r" {2,}", "\n", line) for line in printed.out.splitlines() if "layerwise train" not in line
    ]
    cells = [cell for line in lines for cell in line.splitlines()]
    assert english(cells, DATA) == []
    assert english([line.removeprefix("layerwise: ") for line in printed.err.splitlines()], DATA) == []
    markdown = (out / "probe.md").read_text("utf-8")
    assert english([cell for line in markdown.splitlines() for cell in line.split("|")], DATA) == []
    content = json.loads((out / "probe.json").read_text("utf-8"))
    assert content["advice"]["text"].isascii() or "−" in content["advice"]["text"], "probe.json is in English"
    if not can_draw("zh"):
        pytest.skip("no font of this machine has Chinese characters")
    figures = [layer_curve(content, lang="zh"), weights(content, lang="zh")]
    analysis = lw.analyze(texts, label="kind", measure=["norm", "pwcca", "rank"])
    figures += [geometry(analysis, lang="zh"), heatmap(analysis, "pwcca", lang="zh")]
    coords = np.random.default_rng(0).normal(size=(2, 9, 2))
    figures.append(
        projection(coords, ["emb", "1"], list("aabbc") + [None] * 4, explained=np.ones((2, 2)), lang="zh")
    )
    for figure in figures:
        import matplotlib.text

        drawn = [item.get_text() for item in figure.findobj(matplotlib.text.Text)]
        assert english([text for text in drawn if text], DATA) == []


def test_the_advice_has_the_same_numbers_in_both_languages(texts: lw.LayerDataset) -> None:
    result = lw.probe(texts, task="classify", label="kind", quick=True, mix=["mean(1:)"])
    content = json.loads(as_json(result.to_json()))
    both = [in_language(content, lang)["advice"]["messages"]["text"] for lang in ("en", "zh")]
    for one, other in zip(*both, strict=True):
        assert sorted(re.findall(r"\d+(?:[.,]\d+)*", one)) == sorted(re.findall(r"\d+(?:[.,]\d+)*", other))
    assert all(isinstance(message, Message) for message in result.advice.messages)


def test_the_advice_has_as_many_digits_as_the_tables(texts: lw.LayerDataset) -> None:
    result = lw.probe(texts, task="classify", label="kind", quick=True, mix=["mean(1:)"])
    content = result.to_json()
    digits = score_digits(((c.low, c.high) for c in result.candidates), result.rows)
    numbers = re.findall(r"\d+\.(\d+)(?!%)", result.advice.text)
    assert {len(number) for number in numbers} == {digits}
    best = fixed(result[result.advice.best].score, digits)
    assert best in result.advice.text
    assert f"| {best} |" in probe_markdown(content)


# --- typography of Chinese --------------------------------------------------------------------------------

IDEOGRAPH, FULL = "[\u3400-\u9fff]", "[\u3001-\u303f\uff00-\uffef\u2018-\u201d]"
FAULTS = re.compile(
    rf"{IDEOGRAPH} *[,;!?](?=\s|{IDEOGRAPH}|$)"  # a comma of English behind a Chinese word
    rf"|[,;!?] ?(?={IDEOGRAPH})"  # or before one
    rf"|{IDEOGRAPH}:(?=\s|{IDEOGRAPH})"
    rf"|{FULL} | (?={FULL})"  # a blank beside full-width punctuation
    rf"|{IDEOGRAPH} {IDEOGRAPH}"  # or between two Chinese words
    rf"|\([^()]*{IDEOGRAPH}[^()]*\)"  # brackets of English around Chinese
    rf"|{IDEOGRAPH}[A-Za-z0-9]|[A-Za-z0-9²%]{IDEOGRAPH}"  # no blank between scripts
)
# Symbols and marks that stand beside ideographs without a blank: 95%, the keys of the page.
FITTING = re.compile(rf"\d+%(?={IDEOGRAPH})")


def faults(text: str) -> list[str]:
    return [match[0] for match in FAULTS.finditer(text)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("float16, 以 fp32 计算", 1),
        ("与 就 （未知）最接近的词元", 2),
        ("多数类 (随机水平)", 1),
        ("片段 F1为 0.81", 1),
        ("最佳, 开销最小", 1),
        ("在 95% 的行上，准确率为 0.81（95% 区间：0.78 至 0.84）。", 0),
        ("learned(all) 与 mean(1:) 没有差异", 0),
    ],
)
def test_the_scan_finds_faults_of_typography(text: str, count: int) -> None:
    assert len(faults(text)) == count


def test_the_catalogue_has_chinese_typography() -> None:
    """Blanks beside placeholders are set when the values are known (`wording.beside`)."""
    texts = {key: re.sub(r"\{\w+\}", "@", text) for key, text in catalogue("zh").items()}
    assert {key: faults(text) for key, text in texts.items() if faults(text)} == {}


@pytest.mark.slow
def test_chinese_pages_and_files_have_chinese_typography(
    texts: lw.LayerDataset, words: lw.LayerDataset, started: Any, tmp_path: Path
) -> None:
    for dataset, task, label in ((texts, "classify", "kind"), (words, "tag", "tag")):
        place = tmp_path / task
        place.mkdir()
        results = results_of(dataset, place, task, label)
        path = lw.report(dataset, place / "page.html", lang="zh", attention=True, **results)
        content = json.loads((results["probe"] / "probe.json").read_text("utf-8"))
        lines = [
            cell
            for line in probe_markdown(content, "zh").splitlines()
            for cell in line.split("|")
            if cell.strip(" -:")
        ]
        seen = [*read_all(started, path), *(line.strip().removeprefix("- ") for line in lines)]
        # The texts of the dataset, and parts of them, are the user's.
        own = [text for text in seen if not set(text) <= {*WORDS, " ", "…"}]
        assert {text: faults(text) for text in own if faults(text)} == {}
