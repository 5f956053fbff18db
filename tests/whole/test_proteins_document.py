"""Run the commands and the code of docs/reference/proteins.md with a tiny random ESM-2 of the real vocabulary."""

import json
import re
import shlex
from pathlib import Path

import pytest

import layerwise as lw
from layerwise.cli.main import main
from proteins import make_esm

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reference" / "proteins.md").read_text(encoding="utf-8")
MODEL = "facebook/esm2_t6_8M_UR50D"
LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def sequence(number: int) -> str:
    return "".join(LETTERS[(number * number + number * k + k * k // 3) % 20] for k in range(20 + 3 * number))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the document, to whose records some are added, and the model."""
    folder = tmp_path_factory.mktemp("proteins")
    make_esm(folder / "esm2")
    proteins, structure = blocks("fasta")
    for number in range(8):
        letters = sequence(number)
        shapes = "".join(
            "H" if letter in "AELMQK" else "E" if letter in "VIYFWT" else "C" for letter in letters
        )
        proteins += f">p{number} protein {number} OS=Homo sapiens OX=9606\n{letters}\n"
        structure += f">p{number}\n{shapes}\n"
    (folder / "proteins.fasta").write_text(proteins)
    (folder / "structure.fasta").write_text(structure)
    return folder


@pytest.mark.slow
def test_the_commands_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    commands = [
        line.removeprefix("$ layerwise ") for block in blocks("console") for line in block.splitlines()
    ]
    assert [command.split()[0] for command in commands] == ["extract", "info", "probe", "analyze", "report"]
    told = {}
    for command in commands:
        argv = shlex.split(command.replace(MODEL, str(folder / "esm2")))
        assert main([*argv, "--quiet"] if argv[0] == "probe" else argv) == 0, command
        told[argv[0]] = capsys.readouterr()
    assert "fields of headers are carried as columns: 'OS', 'OX', 'GN', 'PE', 'SV'" in told["extract"].err
    dataset = lw.open_dataset("proteins.lw")
    assert dataset.index["text"].to_pylist()[:5] == list("MQIFV")
    assert dataset.texts["windows"].to_pylist()[0] == 2  # 76 residues, and 64 fit into the small model
    probe = json.loads(Path("structure.probe/probe.json").read_text())
    assert probe["rows"] == dataset.rows
    assert Path("proteins.html").stat().st_size > 10_000
    assert Path("proteins.analysis/analysis.json").exists()


def test_the_code_works(folder: Path) -> None:
    (code,) = blocks("python")
    code = code.replace(f'"{MODEL}"', repr(str(folder / "esm2")))
    checked = re.sub(r"^(\S.*?) {2,}# (\[.*\])$", r"assert (\1) == \2", code, flags=re.MULTILINE)
    assert checked.count("assert") == 1
    exec(compile(checked, "proteins.md", "exec"), {})
