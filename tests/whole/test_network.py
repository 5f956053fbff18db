"""Every command is run once. No telemetry, and no network: its sockets are watched. Its messages name only its own flags.

Python reports every look-up of a name, and every address that a socket is bound to, connected to or sent to, before it
happens (audit events). Nothing but this machine may be named.
"""

import argparse
import contextlib
import io
import ipaddress
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import quicken_ceilings
from layerwise.cli.main import _COMMANDS, _parser, main
from layerwise.server.loopback import Loopback
from layerwise.server.run import HttpServer
from st_folders import make_folder

_EVENTS = (
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
)
_seen: list[tuple[str, str]] | None = None


def _host(arguments: tuple[Any, ...], event: str) -> str | None:
    """The host that an event names; `None` for sockets that are files."""
    named = arguments[0] if event.startswith("socket.get") else arguments[1]
    named = named[0] if isinstance(named, tuple) else named
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg") and not isinstance(
        arguments[1], tuple
    ):
        return None
    return named.decode() if isinstance(named, bytes) else str(named)


def _is_here(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is not None and event in _EVENTS:
        host = _host(arguments, event)
        if host is not None and not _is_here(host):
            _seen.append((event, host))


sys.addaudithook(_watch)  # stays for the life of the process; it records nothing unless `_seen` is a list


@contextlib.contextmanager
def watched() -> Iterator[list[tuple[str, str]]]:
    global _seen
    _seen = []
    try:
        yield _seen
    finally:
        _seen = None


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


@dataclass(frozen=True)
class Ran:
    """What one run of a command gave: its exit code, its messages, and the hosts that it named."""

    arguments: list[str]
    code: int
    messages: str
    hosts: list[tuple[str, str]]


@pytest.fixture(scope="module")
def runs(commands: dict[str, list[list[str]]]) -> list[Ran]:
    """Every run of every command."""

    def served(server: Loopback) -> None:
        assert server.url.startswith("http://127.0.0.1:")
        raise KeyboardInterrupt  # Ctrl-C, the end of `explore`

    def answered(server: HttpServer) -> None:
        threading.Timer(1.0, server.stop).start()
        run(server)

    run = HttpServer.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpServer, "run", answered)
        patch.setattr(Loopback, "serve", served)
        quicken_ceilings(patch)
        return [ran(arguments) for several in commands.values() for arguments in several]


def ran(arguments: list[str]) -> Ran:
    messages = io.StringIO()
    with (
        watched() as events,
        contextlib.redirect_stderr(messages),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = main(arguments)
    return Ran(arguments, code, messages.getvalue(), events)


def test_every_command_keeps_to_this_machine(runs: list[Ran], commands: dict[str, list[list[str]]]) -> None:
    assert set(commands) == set(_COMMANDS), "each command is watched"
    for each in runs:
        assert each.code == 0, each.messages
        assert each.hosts == [], f"layerwise {' '.join(each.arguments)} used the network"


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
