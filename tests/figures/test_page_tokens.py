"""What a model didn't read is marked and counted on the page; paths of tokens have one scale; the header is the advice."""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from browser import Opened, browser
from conftest import CORPUS, make_model
from layerwise.choices import LANGS
from layerwise.page.report import page_data
from reference import Plain

FOREIGN = ["猫 the word ★ 猫", "新闻 layers of 猫", "猫 猫 猫 layer", "the first ★ ★"]
WORDS = [["the", "猫", "layers"], ["\u200b", "first", "★"]] * 10
HEAD = "header"
SAID = {"en": "unknown to the model", "zh": "不认识"}


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as found:
        yield found


@dataclass(frozen=True)
class Pages:
    """Datasets of the tiny BERT, in whose vocabulary there is no cat and no star, with their pages."""

    datasets: dict[str, lw.LayerDataset]
    files: dict[str, Path]
    tokenizer: Any


@pytest.fixture(scope="module")
def pages(
    tmp_path_factory: pytest.TempPathFactory,
    encoder_of: Callable[[str], Any],
    model_folder: Callable[[str], Path],
) -> Pages:
    place = tmp_path_factory.mktemp("pages")
    records = [{"text": f"{text} {n}", "label": "ab"[n % 2]} for n, text in enumerate(FOREIGN * 6)]
    (place / "texts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (place / "words.jsonl").write_text("".join(json.dumps({"words": words}) + "\n" for words in WORDS))
    model = encoder_of("bert")
    datasets = {
        "texts": lw.extract(place / "texts.jsonl", place / "texts", model=model),
        "tokens": lw.extract(place / "texts.jsonl", place / "tokens", model=model, level="token"),
        "words": lw.extract(place / "words.jsonl", place / "words", model=model, words="words", level="word"),
        "known": lw.extract(["every layer", *CORPUS[:3]], place / "known", model=model),
    }
    mixes = ["mean(1,2,3)", "concat(emb,1,2)"]
    probe = lw.probe(datasets["texts"], task="classify", label="label", mix=mixes, quick=True)
    files = {name: lw.report(dataset, place / f"{name}.html") for name, dataset in datasets.items()}
    for lang in LANGS:
        files[f"texts.{lang}"] = lw.report(
            datasets["texts"],
            place / f"{lang}.html",
            probe=probe,
            attention=True,
            texts=[0, 1],
            lang=lang,
            points=9,
        )
    return Pages(datasets, files, Plain(model_folder("bert")).tokenizer)


def unknown_of(tokenizer: Any, text: str) -> list[bool]:
    """Which tokens of a text, the two around it included, are the unknown token, by transformers."""
    return [number == tokenizer.unk_token_id for number in tokenizer(text)["input_ids"]]


# --- unknown tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [360, 1440, 1920])
@pytest.mark.parametrize("lang", LANGS)
def test_the_header_counts_unknown_tokens_and_warns(pages: Pages, started: Any, lang: str, wide: int) -> None:
    totals = pages.datasets["texts"].manifest.totals
    share = f"{round(100 * totals.unknown / totals.tokens)}%"
    assert totals.unknown > totals.tokens / 10
    page = Opened(started, pages.files[f"texts.{lang}"], wide=wide)
    head = page.text(HEAD)
    for words in (SAID[lang], share, f"{totals.unknown}", f"{totals.tokens}"):
        assert words in head, f"the header lacks {words!r}"
    assert "no words lost" not in head
    caution = page.tab.locator('header .caution[role="note"]')
    assert caution.count() == 1
    model = Path(pages.datasets["texts"].manifest.model.id).name
    assert share in caution.inner_text()
    assert model in caution.inner_text()
    assert {"en": "vocabulary covers their script", "zh": "改用词表覆盖该文字的模型"}[
        lang
    ] in caution.inner_text()
    assert page.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_where_all_was_read_the_header_says_what_was_looked_for(pages: Pages, started: Any) -> None:
    page = Opened(started, pages.files["known"])
    assert "nothing truncated; no words lost; no unknown tokens" in page.text(HEAD)
    assert page.tab.locator(".caution, .unknown, .hatch").count() == 0
    page.close()


def test_unknown_tokens_are_hatched_wherever_tokens_are(pages: Pages, started: Any) -> None:
    text = pages.datasets["texts"].texts["text"][0].as_py()
    wanted = unknown_of(pages.tokenizer, text)
    assert 1 < sum(wanted) < len(wanted) - 2
    page = Opened(started, pages.files["texts.en"])
    marked = page.tab.locator("#strip tbody th").evaluate_all(
        "(all) => all.map((one) => one.querySelector('.unknown') !== null)"
    )
    assert marked == wanted
    names = page.tab.locator("#strip tbody th bdi").all_inner_texts()
    unknown = {name for name, is_unknown in zip(names, wanted, strict=True) if is_unknown}
    assert page.tab.locator("#strip .unknown .unseen").first.text_content() == " (unknown)"
    assert f"{sum(wanted)} of these {len(wanted)} tokens are unknown" in page.text("#tokens .unknown-key")
    assert page.tab.locator("#paths rect.hatch").count() == sum(wanted)
    assert page.tab.locator("#paths .path.of-unknown").count() == sum(wanted)
    said = [mark.get_attribute("aria-label") for mark in page.tab.locator("#paths .mark").all()]
    assert sum("(unknown)" in words for words in said) == sum(wanted)
    entries = page.tab.locator("#close-tokens .closest > span")
    assert entries.count() > len(wanted)
    for entry in entries.all():
        is_marked = entry.locator(".unknown").count() == 1
        assert is_marked == (entry.locator("bdi").inner_text() in unknown), entry.inner_text()
    assert page.tab.locator("#attention rect.hatch").count() == 2 * sum(wanted), "rows and columns"
    labels = [cell.get_attribute("aria-label") for cell in page.tab.locator("#attention .cell").all()]
    assert sum("(unknown) attends to" in label for label in labels) == sum(wanted) * len(wanted)
    page.tab.locator("#tokens details.as-table summary").click()
    assert page.tab.locator("#tokens details.as-table tbody td:first-child .unknown").count() == sum(wanted)
    page.close()


def test_the_mark_is_no_matter_of_colour(pages: Pages, started: Any) -> None:
    page = Opened(started, pages.files["texts.en"], forced_colors="active")
    style = (
        "(() => { const at = getComputedStyle(document.querySelector('#strip .unknown'));"
        " return [at.borderBottomStyle, parseFloat(at.borderBottomWidth)]; })()"
    )
    kind, wide = page.tab.evaluate(style)
    assert kind == "dashed"
    assert wide >= 1
    page.tab.emulate_media(forced_colors="none")
    image = "getComputedStyle(document.querySelector('#strip .unknown')).backgroundImage"
    assert "gradient" in page.tab.evaluate(image)
    page.close()


@pytest.mark.parametrize("name", ["words", "tokens"])
def test_rows_of_words_and_tokens_are_hatched(pages: Pages, started: Any, name: str) -> None:
    dataset = pages.datasets[name]
    index = dataset.index.to_pylist()
    points = page_data(dataset, texts=[0])["points"]
    page = Opened(started, pages.files[name])
    for unknown in (True, False):
        point = next(n for n, row in enumerate(points["row"]) if (index[row]["unknown"] > 0) == unknown)
        page.tab.evaluate("(point) => layerwise.scene.choose(point)", point)
        page.wait(
            "(text) => document.querySelector('#chosen .whole mark')?.textContent.startsWith(text)",
            index[points["row"][point]]["text"],
        )
        assert page.tab.locator("#chosen .whole .unknown").count() == int(unknown)
        if unknown:
            assert "Hatched: unknown to the model" in page.text("#chosen .unknown-key")
    options = page.tab.locator("#colour option").all_inner_texts()
    assert "unknown" in options, "points can be coloured by it"
    page.close()


def test_texts_can_be_coloured_by_how_much_is_unknown(pages: Pages) -> None:
    dataset = pages.datasets["texts"]
    columns = {column["name"]: column for column in page_data(dataset, texts=[0])["points"]["columns"]}
    codes = [columns["unknown"]["values"][code] for code in columns["unknown"]["codes"]]
    assert codes == [str(count) for count in dataset.texts["unknown"].to_pylist()]
    assert list(columns)[-2:] == ["tokens", "unknown"]
    known = page_data(pages.datasets["known"], texts=[0])["points"]
    assert known["unknown"] is None
    assert "unknown" not in [column["name"] for column in known["columns"]]


# --- whatever else wasn't read, or isn't shown ------------------------------------------------------------


def test_every_loss_is_counted(tmp_path: Path, started: Any) -> None:
    model = make_model("bert", tmp_path / "model")
    (model / "modules.json").write_text(
        json.dumps(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {
                    "idx": 1,
                    "name": "1",
                    "path": "1_Normalize",
                    "type": "sentence_transformers.models.Normalize",
                },
            ]
        )
    )
    (model / "1_Normalize").mkdir()
    lines = [
        {"words": ["the", "\u200b", "layers"]},
        {"words": []},
        {"words": ["layer"] * 60},
        {"words": 5},
    ]
    (tmp_path / "words.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = lw.extract(
        tmp_path / "words.jsonl",
        tmp_path / "words",
        model=model,
        words="words",
        skip_bad=True,
        long="truncate",
        max_length=20,
        special_tokens=False,
    )
    totals = dataset.manifest.totals
    assert (totals.truncated_texts, totals.dropped_words, totals.special_only_texts) == (1, 1, 1)
    page = Opened(started, lw.report(dataset, tmp_path / "page.html"))
    head = page.text(HEAD)
    for words in (
        "1 text truncated",
        "1 word dropped by the tokenizer",
        "1 text with special tokens only",
        "skipped 1 record",
        "not applied: Normalize",
        "without special tokens",
        "of the tokens were cut off, and the model never read them",
    ):
        assert words in head, f"the header lacks {words!r}"
    assert "nothing truncated" not in head
    page.tab.select_option("#which-text", index=1)
    cut = dataset.texts["truncated"][2].as_py()
    assert f"Truncated: {cut} further tokens were cut off" in page.text("#tokens")
    page.close()


def test_random_weights_are_told(tmp_path: Path, started: Any, model: str) -> None:
    encoder = lw.load_encoder(model, random=3)
    dataset = lw.extract(["one layer", "two words"], tmp_path / "random", model=encoder)
    page = Opened(started, lw.report(dataset, tmp_path / "page.html"))
    assert "weights of this model are random (seed 3)" in page.text(".caution")
    page.close()


def test_what_is_a_part_says_so(pages: Pages, started: Any) -> None:
    page = Opened(started, pages.files["texts.en"])
    assert "Shown are 2 of 24 texts" in page.text("#tokens .lead")
    assert "Searches the 9 rows on the map" in page.text("#map")
    page.tab.evaluate("layerwise.scene.choose(0)")
    page.tab.wait_for_selector("#chosen .beside")
    assert "Nearest among the 9 rows on the map" in page.text("#chosen")
    page.close()
    whole = Opened(started, pages.files["words"])
    assert "rows on the map" not in whole.text("#map")
    whole.close()


def test_facts_are_the_totals_of_the_dataset(pages: Pages, encoder_of: Callable[[str], Any]) -> None:
    states = encoder_of("bert").encode(FOREIGN)
    about = page_data(states)["about"]
    for name in ("tokens", "unknown", "windows"):
        assert about[name] == sum(states.texts[name].to_pylist()), name
    totals = pages.datasets["texts"].manifest.totals
    about = page_data(pages.datasets["texts"], texts=[0])["about"]
    assert (about["unknown"], about["truncated"]) == (totals.unknown, totals.truncated_texts)


# --- the paths of tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGS)
def test_steps_are_drawn_to_one_scale(
    pages: Pages, started: Any, lang: str, encoder_of: Callable[[str], Any]
) -> None:
    text = pages.datasets["texts"].texts["text"][0].as_py()
    stack = encoder_of("bert").encode([text], level="token").stack()
    unit = stack / np.linalg.norm(stack, axis=2, keepdims=True)
    wanted = np.linalg.norm(np.diff(unit, axis=0), axis=2)
    page = Opened(started, pages.files[f"texts.{lang}"])
    drawn = []
    for token in range(wanted.shape[1]):
        page.tab.locator(f'#strip [data-token="{token}"]').click()
        points = page.tab.locator("#paths .path.chosen").get_attribute("points")
        places = np.array([[float(number) for number in point.split(",")] for point in points.split()])
        drawn.append(np.linalg.norm(np.diff(places, axis=0), axis=1))
    pixels = np.stack(drawn, axis=1)
    assert np.corrcoef(pixels.ravel(), wanted.ravel())[0, 1] > 0.95
    bar = page.tab.locator("#paths .scale-bar")
    said = re.search(r"[\d.]+", bar.text_content() or "")
    long = re.search(r"h([\d.]+)", bar.locator("path").get_attribute("d") or "")
    assert said
    assert long
    scale = float(long[1]) / float(said[0])
    assert math.isclose(pixels.sum() / wanted.sum(), scale, rel_tol=0.02), "the bar has another scale"
    entry = page_data(pages.datasets["texts"], texts=[0])["tokens"][0]
    shares = entry["shares"]
    assert shares["steps"] > 0.9
    for share, digits in ((shares["steps"], 1), (shares["distances"], 0)):
        assert f"{100 * share:.{digits}f}%" in page.text("#tokens")
    page.close()


# --- the advice -------------------------------------------------------------------------------------------


def test_the_header_shows_the_first_sentences_of_the_advice(
    pages: Pages, started: Any, tmp_path: Path
) -> None:
    dataset = pages.datasets["texts"]
    result = lw.probe(dataset, task="classify", label="label", mix=["mean(1,2,3)"], quick=True)
    content = result.to_json()
    best, cheapest = "mean(1,2,3)", "2"
    for recommended, lang in ((True, "en"), (False, "en"), (True, "zh")):
        content["advice"] |= {"best": best, "cheapest": cheapest, "recommended": recommended}
        folder = tmp_path / f"{recommended}{lang}"
        folder.mkdir()
        (folder / "probe.json").write_text(json.dumps(content))
        page = Opened(started, lw.report(dataset, folder / "page.html", probe=folder, texts=[0], lang=lang))
        sentences = [message.in_language(lang) for message in result.advice.messages]
        between = "" if lang == "zh" else " "
        assert page.text(".advice > p") == between.join(sentences[:2])
        page.tab.locator(".advice summary").click()
        assert page.text(".advice details p") == between.join(sentences[2:])
        assert "mean(1,2,3)" not in page.text("body")
        assert "mean(1:4)" in page.text("body")
        if lang == "en":
            for cost in ("mean(1:4), the best:", "layer 2, the cheapest that comes close:"):
                assert (cost in page.text(HEAD)) == recommended, "costs only of what is recommended"
        page.close()
