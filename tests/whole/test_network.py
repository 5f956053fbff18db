"""Every command is run once. No telemetry, and no network: it is watched. Its messages name only its own flags.

The commands run in a process whose network has no route to anywhere else; see `isolated.py`.
"""

import argparse
import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import isolated
from isolated import Ran, Results, ran, watched
from layerwise.cli.main import _COMMANDS, _parser
from st_folders import make_folder
from warm import Python


@pytest.fixture
def seen() -> Iterator[list[tuple[str, str]]]:
    with watched() as events:
        yield events


def test_the_watch_sees_what_it_should(seen: list[tuple[str, str]]) -> None:
    """Documentation addresses and names (RFC 5737, RFC 6761), which lead nowhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, suppress(OSError):
        datagrams.sendto(b"", ("192.0.2.1", 9))
    with socket.socket() as stream, suppress(OSError):
        stream.settimeout(0.01)
        stream.connect(("192.0.2.1", 9))
    with suppress(OSError):
        socket.getaddrinfo("nowhere.invalid", 80)
    with socket.socket() as here, suppress(OSError):
        here.bind(("127.0.0.1", 0))
    assert seen == [
        ("socket.sendto", "192.0.2.1"),
        ("socket.connect", "192.0.2.1"),
        ("socket.getaddrinfo", "nowhere.invalid"),
    ]


@pytest.fixture(scope="module")
def commands(
    model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[list[str]]]:
    """For every command what to run, in an order in which each finds what it needs."""
    at = tmp_path_factory.mktemp("network")
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    name = "config_sentence_transformers.json"
    model = str(make_folder(model_folder("bert"), at / "model", settings=prompts, name=name))
    rows = [{"text": f"the old ship {n} a@example.org", "label": "ab"[n % 2], "id": n} for n in range(24)]
    for name, part in (("rows", rows), ("more", rows[:8])):
        (at / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (at / "lines.txt").write_text("the old ship ||| das alte Schiff\n")
    source, more = str(at / "rows.jsonl"), str(at / "more.jsonl")
    d, t, head, share, secret = (str(at / n) for n in ("d.lw", "t.lw", "h.head", "s.lw", "n.lw"))
    task = ["--task", "classify", "--label", "label"]
    extract = ["extract", source, "--model", model]
    shares = ["--num-workers", "1", "--worker-index", "0"]
    private = ["--mix", "2", "--private", "1", "--delta", "1e-3", "--out", str(at / "p.head")]
    return {
        "env": [["env"]],
        "show": [["show", "a text", "--model", model]],
        "extract": [
            [*extract, "--out", d],
            [*extract, "--out", t, "--level", "token"],
            [*extract, "--out", str(at / "r.lw"), "--redact", "presidio:blank"],
            [*extract, "--out", secret, "--level", "token", "--no-text"],
            [*extract, "--out", share, *shares],
            [*extract, "--out", str(at / "two.lw"), "--workers", "2", "--shard-texts", "12"],
        ],
        "finish": [["finish", share]],
        "info": [["info", d], ["info", model]],
        "verify": [["verify", d, "--sample", "2"]],
        "merge": [["merge", d, share, "--out", str(at / "m.lw")]],
        "repair": [["repair", d]],
        "pool": [["pool", t, "--out", str(at / "w.lw"), "--level", "word"]],
        "train": [["train", d, *task, "--mix", "2", "--out", head], ["train", d, *task, *private]],
        "predict": [["predict", head, more]],
        "evaluate": [["evaluate", head, more]],
        "probe": [["probe", d, *task, "--quick", "--no-codelength", "--out", str(at / "probe")]],
        "analyze": [
            ["analyze", d, "--measure", "norm", "--out", str(at / "analysis")],
            ["analyze", secret, "--measure", "leakage", "--source", source, "--out", str(at / "leakage")],
        ],
        "report": [["report", d, "--out", str(at / "page.html")]],
        "explore": [["explore", d]],
        "cut": [
            ["cut", model, "--at", "2", "--out", str(at / "cut")],
            ["cut", model, "--at", "2", "--static", "--out", str(at / "static")],
        ],
        "export": [
            ["export", d, "--to", "npy", "--out", str(at / "x.npy"), "--layers", "2"],
            *(["export", d, "--to", to, "--out", str(at / to), "--mix", "2"] for to in ("faiss", "usearch")),
        ],
        "align": [["align", str(at / "lines.txt"), "--model", model, "--out", str(at / "links.jsonl")]],
        "serve": [["serve", model, "--port", "0"]],
        "bench": [
            ["bench", "--model", model, "--texts", "4", "--rounds", "1", "--no-bf16", "--no-int8"],
        ],
    }


@pytest.fixture(scope="module")
def results(
    commands: dict[str, list[list[str]]], python: Python, tmp_path_factory: pytest.TempPathFactory
) -> Results:
    """Every run of every command, in a process whose network is itself, where such a one can be made."""
    folder = tmp_path_factory.mktemp("results")
    given, out = folder / "commands.json", folder / "results.json"
    given.write_text(json.dumps([arguments for several in commands.values() for arguments in several]))
    command = python(str(Path(isolated.__file__)), str(given), str(out))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    results = json.loads(out.read_text())
    return Results([Ran(**each) for each in results["runs"]], results["why_not"], results["controls"])


@pytest.fixture(scope="module")
def runs(results: Results) -> list[Ran]:
    return results.runs


def test_every_command_keeps_to_this_machine(runs: list[Ran], commands: dict[str, list[list[str]]]) -> None:
    assert set(commands) == set(_COMMANDS), "each command is watched"
    for each in runs:
        assert each.code == 0, f"{each.arguments}: {each.messages}"
        assert each.hosts == [], f"layerwise {' '.join(each.arguments)} used the network"


def test_no_process_and_no_native_code_of_a_command_uses_the_network(results: Results) -> None:
    """The kernel counts what has no route. It counts what native code in a child process sends and looks up, and nothing here."""
    if results.why_not is not None:
        pytest.skip(results.why_not)
    assert results.controls.pop("here") == 0
    assert all(count > 0 for count in results.controls.values()), results.controls
    for each in results.runs:
        assert each.unsent == 0, f"layerwise {' '.join(each.arguments)} used the network"


# --- flags in messages ------------------------------------------------------------------------------------


def foreign_flags(command: str, messages: str) -> set[str]:
    """Return the flags that messages of a command name and that it lacks; those of a quoted command are another's."""
    (commands,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    flags = {flag for action in commands.choices[command]._actions for flag in action.option_strings}
    plain = re.sub(r"`[^`]*`|\blayerwise (?:analyze|finish|info|verify)\b.*", "", messages)
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", plain)) - flags


def test_messages_of_a_command_name_its_own_flags(runs: list[Ran]) -> None:
    told = [each for each in runs if "query: " in each.messages]
    assert {each.arguments[0] for each in told} == {"show", "extract", "serve"}, (
        "only they leave the prompt to users"
    )
    for each in runs:
        assert not foreign_flags(each.arguments[0], each.messages), each.messages
    (served,) = (each.messages for each in told if each.arguments[0] == "serve")
    assert "put before each text unless a request names another in prompt_name" in served


@pytest.mark.parametrize("wrong", ["source", "model"])
def test_errors_of_a_command_name_its_own_flags(
    wrong: str,
    runs: list[Ran],
    commands: dict[str, list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    quick_ceilings: None,
) -> None:
    """Sources that aren't there, and models that the hub, which may not be asked, would have."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    refused = set()
    for command, several in commands.items():
        arguments = list(several[0])
        if "--out" in arguments:
            arguments[arguments.index("--out") + 1] = "new"
        if wrong == "model":
            arguments += ["--model", "nobody/nothing"]
        elif len(arguments) > 1:
            arguments[1] = "nowhere.lw"
        each = ran(arguments)
        unknown = "unrecognized arguments" in each.messages
        assert unknown or not foreign_flags(command, each.messages), each.messages
        refused |= {command} if each.code == 2 and not unknown else set()
    if wrong == "model":
        assert refused >= {"show", "extract", "verify", "predict", "evaluate", "align", "bench"}
    else:
        assert refused == set(_COMMANDS) - {"env", "show", "bench"}
