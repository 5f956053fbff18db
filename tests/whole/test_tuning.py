"""Scripts of `make results` that tune a model and compare it with heads, on tiny input."""

import importlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

import layerwise as lw
from layerwise.labels import metrics

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = ("finetune", "paired", "tasks", "tuning_runs", "tuning", "multitask", "common", "history")


class Scripts:
    """The scripts of the benchmarks by name, each imported when it is asked for."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(name)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The scripts, whose names are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield Scripts()
    for name in SCRIPTS:
        sys.modules.pop(name, None)


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def planted(count: int, *, words: bool) -> list[dict[str, Any]]:
    """Rows whose label is in a word: the class of a text that holds `river`, the tag of that word."""
    draw = random.Random(0)
    records = []
    for number in range(count):
        line = draw.choices(["the", "bank", "was", "closed"], k=4)
        line.insert(draw.randrange(4), draw.choice(["river", "money"]))
        split = "train" if number % 4 else "test"
        if words:
            tags = ["B-LOC" if word == "river" else "O" for word in line]
            records.append({"words": line, "tag": tags, "split": split})
        else:
            label = "wet" if "river" in line else "dry"
            records.append({"text": " ".join(line), "label": label, "split": split})
    return records


@pytest.mark.slow
@pytest.mark.parametrize("words", [False, True], ids=["texts", "words"])
def test_a_planted_word_is_learned_by_tuning(
    scripts: Any, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: bool
) -> None:
    monkeypatch.setattr(scripts.finetune, "LEARNING_RATE", 3e-3)
    source = write(tmp_path / "rows.jsonl", planted(400, words=words))
    out = tmp_path / "tuned"
    options = ["--label", "tag", "--words", "words"] if words else ["--label", "label"]
    scripts.finetune.main([str(source), *options, "--model", model, "--out", str(out), "--epochs", "6"])
    answers = json.loads((out / "test.json").read_text())
    assert len(answers["gold"]) == 100
    counts = scripts.paired.counts_of_texts(answers["gold"], answers["predicted"])
    # Chance is about 0.5 for texts, and near 0 for spans.
    assert scripts.paired.score(counts.sum(axis=0)) > 0.95
    # The folder is a model like any other, and its layers differ from those of the model that was tuned.
    tuned = lw.load_encoder(str(out)).encode(["the river bank"], pool="mean")
    before = lw.load_encoder(model).encode(["the river bank"], pool="mean")
    assert tuned.layers == before.layers
    assert not np.allclose(tuned.layer(-1), before.layer(-1), atol=1e-3)


def test_the_same_seed_gives_the_same_answers(scripts: Any, model: str, tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", planted(60, words=False))
    answers = []
    for name in ("first", "second"):
        scripts.finetune.main(
            [
                str(source),
                "--label",
                "label",
                "--model",
                model,
                "--out",
                str(tmp_path / name),
                "--epochs",
                "1",
            ]
        )
        answers.append((tmp_path / name / "test.json").read_text())
    assert answers[0] == answers[1]


def test_the_first_token_of_a_word_is_its_own(scripts: Any) -> None:
    assert list(scripts.finetune.first_tokens([None, 0, 0, 1, 3, 3, None])) == [(1, 0), (3, 1), (4, 3)]


def test_every_row_is_in_one_batch(scripts: Any) -> None:
    lengths = [random.Random(n).randrange(1, 90) for n in range(1000)]
    batches = scripts.finetune.batches_of(lengths, random.Random(0))
    assert sorted(row for batch in batches for row in batch) == list(range(1000))
    assert max(map(len, batches)) == scripts.finetune.BATCH
    spread = np.mean([max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches])
    assert spread < 10, "rows of a batch are of about equal length, so that little is padded"


def test_the_learning_rate_rises_and_falls_to_zero(scripts: Any) -> None:
    rates = [scripts.finetune.share_of_rate(step, 100) for step in range(101)]
    assert rates[:11] == pytest.approx([*np.arange(1, 11) / 10, 1.0])
    assert rates[10:] == pytest.approx(np.arange(90, -1, -1) / 90)


def test_scores_are_those_of_the_metrics(scripts: Any) -> None:
    draw = random.Random(1)
    gold, predicted = ([draw.choice("abc") for _ in range(200)] for _ in range(2))
    counts = scripts.paired.counts_of_texts(gold, predicted)
    assert scripts.paired.score(counts.sum(axis=0)) == pytest.approx(accuracy_score(gold, predicted))
    assert accuracy_score(gold, predicted) == pytest.approx(f1_score(gold, predicted, average="micro"))
    tags = [[draw.choice(["O", "B-X", "B-Y"]) for _ in range(6)] for _ in range(200)]
    guessed = [[draw.choice(["O", "B-X", "I-X"]) for _ in range(6)] for _ in range(200)]
    spans = scripts.paired.counts_of_texts(tags, guessed)
    expected = metrics.scores("tag", tags, guessed)["span_f1"]
    assert scripts.paired.score(spans.sum(axis=0)) == pytest.approx(expected)


def test_an_i_that_continues_nothing_is_a_span_only_if_lenient(scripts: Any) -> None:
    gold, predicted = [["B-X", "I-X", "O"]], [["I-X", "I-X", "O"]]
    assert scripts.paired.counts_of_texts(gold, predicted).tolist() == [[0, 0, 1]]
    assert scripts.paired.counts_of_texts(gold, predicted, lenient=True).tolist() == [[1, 1, 1]]


def test_intervals_are_those_of_the_binomial_and_paired(scripts: Any) -> None:
    draw = np.random.default_rng(3)
    right = [(draw.random(2000) < share).astype(int) for share in (0.8, 0.8)]
    first, second = (np.stack([r, np.ones_like(r), np.ones_like(r)], axis=1) for r in right)
    paired = scripts.paired.Paired(2000)
    low, high = paired.interval([first])
    # Four standard errors of a share of 0.8 of 2,000 rows, 0.0358; percentiles of 2,000 draws are within a tenth.
    assert high - low == pytest.approx(2 * 1.96 * (0.8 * 0.2 / 2000) ** 0.5, rel=0.1)
    assert paired.interval([first], [first]) == (0.0, 0.0)
    low, high = paired.interval([first], [second])
    # Independent predictors: the variances add up.
    assert high - low == pytest.approx(2 * 1.96 * (2 * 0.8 * 0.2 / 2000) ** 0.5, rel=0.1)
    assert paired.mean([first, second]) == pytest.approx(np.mean([right[0].mean(), right[1].mean()]))


def test_answers_are_read_as_predict_prints_them(scripts: Any) -> None:
    words, texts = (scripts.tuning_runs.Design(name, None, 1) for name in ("wnut17", "trec"))
    printed = "EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\n\n"
    assert scripts.tuning_runs.answers_of(words, printed) == [["B-ORG", "O"], ["B-PER"]]
    lines = '{"doc": 0, "label": "LOC"}\n{"doc": 1, "label": "NUM"}\n'
    assert scripts.tuning_runs.answers_of(texts, lines) == ["LOC", "NUM"]


def test_a_run_that_is_there_is_not_repeated(scripts: Any, tmp_path: Path) -> None:
    runs = scripts.tuning_runs
    command = [sys.executable, "-c", f"open({str(tmp_path / 'log')!r}, 'a').write('x'); print('said')"]
    first, second = (runs.measured(command, tmp_path / "kept.json") for _ in range(2))
    assert first == second
    assert first[0] == "said\n"
    assert first[1].seconds > 0
    assert first[1].peak > 1
    assert (tmp_path / "log").read_text() == "x"
    with pytest.raises(SystemExit, match="another command"):
        runs.measured([sys.executable, "-c", "pass"], tmp_path / "kept.json")
    with pytest.raises(SystemExit, match="ended with 3"):
        runs.measured([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "failed.json")
    assert not (tmp_path / "failed.json").exists()


def test_layers_stand_beside_their_scores(scripts: Any) -> None:
    measure = {"values": [1.0, 0.5], "low": [0.99, 0.4], "high": [1.0, 0.6]}
    analysis = {"layers": ["emb", "1"], "measures": {"against_debiased_cka": measure}}
    candidates = {"emb": {"score": 0.7, "low": 0.6, "high": 0.8}, "1": {"score": 0.9, "low": None}}
    table = scripts.tuning.moved_table(
        analysis, {"before": candidates, "after": {"1": {"score": 0.8}}}, "accuracy"
    )
    assert table.splitlines()[2:] == [
        "| emb | 1.000 | 0.990 to 1.000 | 0.700 (0.600 to 0.800) | – |",
        "| 1 | 0.500 | 0.400 to 0.600 | 0.900 | 0.800 |",
    ]


@pytest.mark.slow
def test_tasks_alone_and_together(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str
) -> None:
    monkeypatch.setattr(scripts.multitask, "SEEDS", (0, 1))
    monkeypatch.setattr(scripts.multitask, "MODEL", model)
    draw = random.Random(2)
    corpus = []
    for number in range(90):
        noun, verb = draw.choice(["river", "money"]), draw.choice(["was", "is"])
        split = "train" if number % 3 else "test"
        fine = f"{noun}:{verb}"
        corpus.append(
            {"text": f"the {noun} bank {verb} closed", "coarse": noun, "fine": fine, "split": split}
        )
    header, *rows = scripts.multitask.multitask_rows(corpus, 30, (4,))
    names = ["linear, one for each", "4 units for each", "4 units for both"]
    assert [row[:2] for row in rows] == [(count, name) for count in ("30", "60") for name in names]
    assert {len(row) for row in rows} == {len(header)}
    width = lw.load_encoder(model).encode(["a"]).layer(-1).shape[1]
    # Weights and biases: of 2 and 4 classes, or of 4 units and then the classes; a shared layer counts once.
    linear = width * 2 + 2 + width * 4 + 4
    hidden, outputs = width * 4 + 4, 4 * 2 + 2 + 4 * 4 + 4
    expected = [linear, 2 * hidden + outputs, hidden + outputs]
    assert [int(row[-2].replace(",", "")) for row in rows] == 2 * expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trec", "wnut17"])
def test_both_parts_of_a_task_on_tiny_rows(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, name: str
) -> None:
    tags = name == "wnut17"
    records = planted(240, words=tags)
    if not tags:
        records = [{**record, "coarse": record["label"]} for record in records]

    monkeypatch.setattr(scripts.tuning_runs, "records", lambda task: iter(records))
    monkeypatch.setattr(scripts.tuning, "SEEDS", (0,))
    monkeypatch.setattr(scripts.tuning, "LAST", "-1")
    design = scripts.tuning_runs.Design(name, 150, 1)
    costs = scripts.tuning.costs_part(design, tmp_path / "runs", model)
    assert "150 training and 60 test rows" in costs
    assert sum(line.startswith("| head on") for line in costs.splitlines()) == 2
    moved = scripts.tuning.moved_part(design, tmp_path / "runs", model)
    assert "| emb |" in moved
