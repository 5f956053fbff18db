"""What somebody does on the first day: a corpus of their own with rare classes, from the file to predictions; the demo."""

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from layerwise.cli.main import main
from warm import Python

EXAMPLES = Path(__file__).parents[2] / "examples"
RARE = 12  # of 92 texts


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CSV file as a program writes it: numbers of rows, classes as numbers, one class rare."""
    monkeypatch.chdir(tmp_path)
    with (EXAMPLES / "reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    by_label: dict[str, list[str]] = {"positive": [], "negative": []}
    for row in rows:
        by_label[row["label"]].append(row["text"])
    chosen = [(text, 0) for text in by_label["positive"]] + [
        (text, 1) for text in by_label["negative"][:RARE]
    ]
    path = tmp_path / "complaints.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "is_complaint"])
        writer.writerows((number, text, label) for number, (text, label) in enumerate(chosen))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """The output of a command and its messages, as one line each."""
    assert main([*arguments]) == 0, capsys.readouterr().err
    shown = capsys.readouterr()
    return " ".join(shown.out.split()), " ".join(shown.err.split())


def test_a_newcomer_gets_from_a_file_with_a_rare_class_to_predictions(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run(capsys, "extract", "complaints.csv", "--out", "complaints.lw")
    assert f"{80 + RARE} rows × 7 layers" in out
    out, _ = run(capsys, "info", "complaints.lw")
    assert "is_complaint" in out, "the column to name as label is shown"

    labels = ("--task", "classify", "--label", "is_complaint")
    out, _ = run(capsys, "probe", "complaints.lw", *labels, "--quick", "--mix", "mean:1:", "--out", "probe")
    probe = json.loads(Path("probe/probe.json").read_text())
    majority = probe["baselines"]["majority"]["score"]
    assert majority == pytest.approx(80 / (80 + RARE), abs=0.005)  # the mean over folds of unequal size
    assert f"baseline: majority {majority:.2f}" in out, "what a score has to beat is in the table"
    assert "next, with more labelled rows: layerwise probe complaints.lw" in out, "what the advice says"

    out, messages = run(
        capsys, "train", "complaints.lw", *labels, "--mix-from", "probe", "--out", "complaints.head"
    )
    assert f"the mix is {probe['advice']['best']}, as probe probe advised" in messages
    assert "macro-F1" in out
    assert "always the most frequent answer" in out
    head = json.loads(Path("complaints.head/head.json").read_text())
    assert head["training"]["tasks"]["is_complaint"]["chosen_by"] == "macro_f1", "the classes are uneven"

    Path("more.csv").write_text(
        "text,is_complaint\nA lovely evening with good music.,0.0\nThe lamp broke and nobody helped.,1.0\n"
        "The waiter was rude and slow.,1.0\n",
        encoding="utf-8",
    )
    out, messages = run(capsys, "evaluate", "complaints.head", "more.csv", "--json")
    scores: dict[str, Any] = json.loads(out)
    assert scores["rows"] == 3
    assert scores["unknown_labels"] == {}, "1.0 and 1 are one class"
    assert set(scores["per_label"]) == {"0", "1"}
    assert "can't tell how good" in messages, "three texts are no score"

    Path("new.csv").write_text("id,text\na7,The shop lost my order twice.\nb2,\n", encoding="utf-8")
    assert main(["predict", "complaints.head", "new.csv"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(answer["id"], answer.get("empty", False)) for answer in answers] == [
        ("a7", False),
        ("b2", True),
    ]
    assert answers[0]["label"] in ("0", "1")


def test_a_head_that_gives_one_answer_says_so(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "extract", "complaints.csv", "--limit", "83", "--layers", "emb", "--out", "few.lw")  # 3 rare
    _, messages = run(
        capsys, "train", "few.lw", "--task", "classify", "--label", "is_complaint", "--out", "few.head"
    )
    assert "--class-weight balanced" in messages


def test_the_demo_trains_two_heads_and_applies_them_together(python: Python, tmp_path: Path) -> None:
    """All of the demo but its large corpus."""
    script = tmp_path / "part_of_demo.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "import demo\n"
        "demo.FOLDER.mkdir(parents=True)\n"
        "demo.train('sentiment', 'reviews.csv', ['--level', 'text'], 'classify', 'label', ['--max-rows', '100'])\n"
        "demo.train('names', 'names.conll', ['--words', 'token', '--level', 'word'], 'tag', 'tag', ['--max-rows', '200'])\n"
        "demo.predict()\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [*python(str(script))], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"doc"'))
    assert first["sentiment"]["label"] == "positive"
    assert second["sentiment"]["label"] == "negative"
    names = {(span["text"], span["label"]) for answer in (first, second) for span in answer["names"]["spans"]}
    assert {("Prague", "LOC"), ("Madrid", "LOC")} <= names
