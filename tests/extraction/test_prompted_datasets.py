"""Datasets of texts with a prompt: every later use puts the same one before texts."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import DatasetError, HeadError, RequestError
from layerwise.page.content import facts
from selection import few_of
from st_folders import make_folder, write

PROMPTS = {"query": "query: ", "passage": "passage: "}
TEXTS = [f"text {n} of them, {'good' if n % 2 else 'bad'}" for n in range(12)]


def folder_of(model: Path, folder: Path, *, default: str | None = None, included: bool = True) -> Path:
    made = make_folder(model, folder, pooling={"pooling_mode": "mean", "include_prompt": included})
    write(made / "config_sentence_transformers.json", {"prompts": PROMPTS, "default_prompt_name": default})
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("text,label\n" + "".join(f'"{text}",{"ab"[n % 2]}\n' for n, text in enumerate(TEXTS)))
    return path


def expected(folder: Path, texts: list[str], **options: Any) -> Any:
    return lw.load_encoder(folder, device="cpu").encode(texts, **options).stack()


def options_of(folder: Path, **more: Any) -> dict[str, Any]:
    return {"model": str(folder), "device": "cpu", "dtype": "float32", **more}


def test_prompts_of_a_model_are_told_to_who_names_none(
    model_folder: Callable[[str], Path], source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st")
    for name, prompt, count in (("a", {}, 1), ("b", {"prompt_name": "query"}, 0), ("c", {"prompt": ""}, 0)):
        caplog.clear()
        lw.extract(source, tmp_path / name, **options_of(folder, **prompt))
        assert sum("has the prompts" in record.message for record in caplog.records) == count, prompt


@pytest.mark.parametrize("default", [None, "query"])
def test_a_dataset_records_its_prompt(
    default: str | None, model_folder: Callable[[str], Path], source: Path, tmp_path: Path
) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st", default=default)
    plain = lw.extract(source, tmp_path / "a", **options_of(folder, prompt=""))
    settings = json.loads((tmp_path / "a/manifest.json").read_text())["settings"]
    assert not {"prompt", "prompt_tokens", "include_prompt"} & settings.keys()
    usual = lw.extract(source, tmp_path / "b", **options_of(folder))
    named = lw.extract(source, tmp_path / "c", **options_of(folder, prompt_name="query"))
    given = lw.extract(source, tmp_path / "d", **options_of(folder, prompt="query: "))
    settings = json.loads((tmp_path / "c/manifest.json").read_text())["settings"]
    tokens = len(lw.load_encoder(folder, device="cpu").tokenizer.texts(["query: "])[0].ids) - 2
    assert (settings["prompt"], settings["prompt_tokens"], settings["include_prompt"]) == (
        "query: ",
        tokens,
        True,
    )
    assert named.sha256 == given.sha256, "the name of the prompt changed the dataset"
    assert (facts(named)["prompt"], facts(plain)["prompt"]) == ("query: ", None)
    assert usual.sha256 == (plain if default is None else named).sha256
    assert np.abs(named.stack() - expected(folder, TEXTS, prompt="query: ")).max() <= 1e-5
    assert np.abs(plain.stack() - expected(folder, TEXTS, prompt="")).max() <= 1e-5
    assert np.abs(named.stack() - plain.stack()).max() > 0.01
    counted = np.array(named.texts["tokens"]) - np.array(plain.texts["tokens"])
    assert set(counted.tolist()) == {tokens}
    again = lw.extract(source, tmp_path / "c", **options_of(folder, prompt="query: "))
    assert again.sha256 == named.sha256
    with pytest.raises(DatasetError, match='prompt is "query: " in it and "passage: " here'):
        lw.extract(source, tmp_path / "c", **options_of(folder, prompt_name="passage"))
    with pytest.raises(DatasetError, match='prompt is "query: " in it and not set here'):
        lw.extract(source, tmp_path / "c", **options_of(folder, prompt=""))
    with pytest.raises(DatasetError, match='prompt is "query: " in the first and not set in the second'):
        lw.merge([named, plain], tmp_path / "merged")


@pytest.mark.parametrize("default", [None, "passage"])
@pytest.mark.parametrize("prompt", ["query: ", ""])
def test_added_texts_get_the_prompt_of_the_dataset(
    prompt: str, default: str | None, model_folder: Callable[[str], Path], source: Path, tmp_path: Path
) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st", default=default)
    lw.extract(source, tmp_path / "data", **options_of(folder, prompt=prompt))
    more = tmp_path / "more.csv"
    more.write_text("text,label\none more text,a\n")
    grown = lw.extract(more, tmp_path / "data", **options_of(folder), append=True)
    assert np.abs(grown.stack() - expected(folder, [*TEXTS, "one more text"], prompt=prompt)).max() <= 1e-5
    other = tmp_path / "other.csv"
    other.write_text("text,label\nanother text,a\n")
    with pytest.raises(DatasetError, match="prompt is"):
        lw.extract(other, tmp_path / "data", **options_of(folder, prompt="else: "), append=True)
    new = lw.extract(more, tmp_path / "new", **options_of(folder, prompt_name="query"), append=False)
    assert new.manifest.settings.prompt == "query: "


@pytest.mark.parametrize("level", ["token", "word", "text"])
def test_verify_and_repair_put_the_prompt_before_texts(
    level: str, model_folder: Callable[[str], Path], source: Path, tmp_path: Path
) -> None:
    folder = folder_of(model_folder("roberta"), tmp_path / "st", default="passage", included=False)
    data = lw.extract(source, tmp_path / "data", **options_of(folder, level=level, prompt="query: "))
    verified = lw.verify(tmp_path / "data", device="cpu")
    assert (verified.ok, verified.texts) == (True, 12)
    before = (tmp_path / "data/shards/00000.safetensors").read_bytes()
    (tmp_path / "data/shards/00000.safetensors").write_bytes(before[:-8] + b"\1" * 8)
    repaired = lw.repair(tmp_path / "data")
    assert (repaired.shards, repaired.changed) == ((0,), ())
    assert (tmp_path / "data/shards/00000.safetensors").read_bytes() == before
    rows = data.layer("emb").shape[0]
    assert rows == {"token": sum(data.texts["tokens"].to_pylist()) - 12 * 6, "text": 12}.get(level, rows)


@pytest.mark.parametrize(
    ("included", "family", "words"),
    few_of(
        [(True, "bert", False), (False, "bert", False), (False, "roberta", False), (False, "bert", True)],
        (True, "bert", False),
        (False, "bert", False),
    ),
)
def test_pool_gives_what_extract_gives_or_refuses(
    included: bool, family: str, words: bool, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of(model_folder(family), tmp_path / "st", included=included)
    texts: Any = [*TEXTS, "a", "天气"]
    if words:
        texts = [{"words": text.split()} for text in texts]
    reading = {"words": "words"} if words else {}
    options = options_of(folder, prompt="query: ", **reading)
    tokens = lw.extract(texts, tmp_path / "tokens", **options, level="token")
    for pool in ("mean", "max", "sum", "first", "last", "first_last", "cls", "eos"):
        out = tmp_path / f"derived-{pool}"
        if included and pool in ("mean", "max", "sum"):
            with pytest.raises(
                RequestError, match=f"pool {pool!r} includes the prompt 'query: ', whose tokens"
            ):
                lw.pool(tokens, out, pool=pool)
            continue
        derived = lw.pool(tokens, out, pool=pool)
        direct = lw.extract(texts, tmp_path / f"direct-{pool}", **options, pool=pool)
        assert np.abs(derived.stack() - direct.stack()).max() <= 1e-4, pool
        assert derived.manifest.settings.prompt == "query: "
        assert pool not in ("mean", "eos") or lw.verify(out, device="cpu").ok
    of_words = lw.pool(tokens, tmp_path / "of-words", level="word")
    direct = lw.extract(texts, tmp_path / "direct-words", **options, level="word")
    assert np.abs(of_words.stack() - direct.stack()).max() <= 1e-5
    assert lw.pool(of_words, tmp_path / "twice").rows == 14


def test_heads_put_the_prompt_of_their_training_before_texts(
    model_folder: Callable[[str], Path], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st", default="passage")
    data = lw.extract(source, tmp_path / "data", **options_of(folder, prompt_name="query"))
    other = lw.extract(source, tmp_path / "other", **options_of(folder))
    for name, dataset in (("query", data), ("passage", other)):
        lw.train(dataset, task="classify", label="label", mix="3", out=tmp_path / f"{name}.head")
    head = lw.load_head(tmp_path / "query.head")
    assert head.rows["prompt"] == "query: "
    stored = json.loads((tmp_path / "query.head/head.json").read_text())
    assert stored["rows"]["prompt"] == "query: "
    answers = head.predict(TEXTS)
    logits = head.task_heads[0].scores(data.layer, False)
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    got = [[answer["probabilities"][name] for name in head.task_heads[0].classes] for answer in answers]
    assert np.abs(np.array(got) - shares).max() <= 1e-4
    with pytest.raises(
        HeadError, match="the head was trained on rows of prompt 'query: ' and .* has 'passage: '"
    ):
        head.evaluate(other)
    capsys.readouterr()
    command = [
        "predict",
        str(tmp_path / "query.head"),
        str(source),
        "--head",
        str(tmp_path / "passage.head"),
        "--quiet",
    ]
    assert main(command) == 0
    out = capsys.readouterr()
    assert re.search(r"prompt query: .*prompt passage: ", out.err), out.err
    lines = [json.loads(line) for line in out.out.splitlines()]
    assert [line["query"]["label"] for line in lines] == [answer["label"] for answer in answers]


def test_an_untrained_model_reads_the_prompt_too(
    model_folder: Callable[[str], Path], source: Path, tmp_path: Path
) -> None:
    from layerwise.extraction.untrained import untrained

    folder = folder_of(model_folder("bert"), tmp_path / "st")
    data = lw.extract(source, tmp_path / "data", **options_of(folder, prompt_name="query"))
    random = lw.load_encoder(folder, device="cpu", random=0)
    got = untrained(data, 0)[0](["3"], np.arange(12))
    assert np.abs(got.stack() - random.encode(TEXTS, "3", prompt="query: ").stack()).max() <= 1e-5


def test_the_page_shows_tokens_after_the_prompt(
    model_folder: Callable[[str], Path], source: Path, tmp_path: Path
) -> None:
    from layerwise.page.tokens import tokens_of

    folder = folder_of(model_folder("bert"), tmp_path / "st")
    data = lw.extract(source, tmp_path / "data", **options_of(folder, prompt_name="query"))
    (entry,), note = tokens_of(data, [3], attention=True)
    states = lw.load_encoder(folder, device="cpu").encode([TEXTS[3]], level="token", prompt="query: ")
    assert note is None
    assert entry["count"] == states.rows == entry["attention"].shape[-1]
    assert entry["attention"].shape[-2] == states.rows


def test_features_of_texts_with_a_prompt(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st")
    features = lw.LayerFeatures(str(folder), mix="3", options={"prompt_name": "query"})
    assert np.abs(features.fit_transform(TEXTS) - expected(folder, TEXTS, prompt="query: ")[3]).max() <= 1e-5


def test_commands(
    model_folder: Callable[[str], Path], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st", default="passage", included=False)
    model, data = ["--model", str(folder), "--device", "cpu"], str(tmp_path / "data")

    def run(*command: str) -> tuple[int, str, str]:
        code = main(list(command))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    code, out, _ = run("show", "a text", *model, "--prompt", "query: ", "--json")
    assert code == 0
    vectors = np.array([row["vector"] for row in json.loads(out)["rows"]])
    assert np.abs(vectors - expected(folder, ["a text"], prompt="query: ")[:, 0]).max() <= 1e-5
    assert run("show", "a text", *model, "--prompt-name", "query", "--json")[1] == out
    assert run("extract", str(source), "--out", data, *model, "--quiet", "--prompt-name", "query")[0] == 0
    _, out, _ = run("info", data)
    assert re.search(
        r"^prompt +'query: ' before each text, \d tokens, not included in pools of texts$", out, re.M
    )
    _, out, _ = run("info", str(folder))
    assert re.search(
        r"^prompts +query 'query: ', passage 'passage: ' \(the default\); not included in pools of texts$",
        out,
        re.M,
    )
    assert (
        run(
            "train",
            data,
            "--task",
            "classify",
            "--label",
            "label",
            "--mix",
            "3",
            "--out",
            f"{data}.head",
            "--quiet",
        )[0]
        == 0
    )
    assert re.search(r"^prompt +'query: ' before each text$", run("info", f"{data}.head")[1], re.M)
    for command in (["show", "a text"], ["extract", str(source), "--out", f"{data}2", "--quiet"]):
        for wrong, message in (
            (
                ["--prompt-name", "lost"],
                "--prompt-name 'lost' is no prompt of model .*; choose one of 'query', 'passage'",
            ),
            (["--prompt", "a " * 99], "--prompt 'a a .* has 99 tokens, and 80 go through the model at once"),
            (
                ["--prompt", "a", "--prompt-name", "query"],
                "--prompt a and --prompt-name query are both given",
            ),
        ):
            code, out, err = run(*command, *model, *wrong)
            errors = [line for line in err.splitlines() if "note:" not in line]
            assert (code, out, len(errors)) == (2, "", 1), err
            assert re.search(message, errors[0]), errors


def test_a_manifest_with_half_a_prompt_is_damaged(
    model_folder: Callable[[str], Path], source: Path, tmp_path: Path
) -> None:
    lw.extract(source, tmp_path / "data", **options_of(model_folder("bert"), prompt="query: "))
    path = tmp_path / "data/manifest.json"
    value = json.loads(path.read_text())
    del value["settings"]["prompt_tokens"]
    path.write_text(json.dumps(value))
    with pytest.raises(
        DatasetError, match="settings has only some of prompt, prompt_tokens and include_prompt"
    ):
        lw.open_dataset(tmp_path / "data")
