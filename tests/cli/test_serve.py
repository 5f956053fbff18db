"""The command `serve`: what it prints, what it refuses, and how it ends under load."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.server.run import HttpServer
from selection import few_of
from waiting import SECONDS, until


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its address."""
    command = [sys.executable, "-m", "layerwise", "serve", *arguments, "--port", "0", "--device", "cpu"]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert started.stdout is not None
        address = started.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address), started.communicate()
        until(lambda: _answers(address), "the server")
        yield started, address
    finally:
        started.kill()
        started.communicate()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}health", timeout=SECONDS).status_code == 200
    except httpx.TransportError:
        return False


class Load(threading.Thread):
    """A client that asks until it can't; `answers` are its good ones, `broken` what it got instead of an answer."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address, self.answers = address, 0
        self.broken: list[str] = []
        self.statuses: set[int] = set()

    def run(self) -> None:
        with httpx.Client(base_url=self.address, timeout=SECONDS) as client:
            while True:
                try:
                    response = client.post("v1/embeddings", json={"input": ["word " * 20] * 4})
                except httpx.TransportError as error:
                    self.broken.append(type(error).__name__)
                    return
                self.statuses.add(response.status_code)
                assert len(response.json()["data"]) == 4
                self.answers += 1


@pytest.mark.slow
@pytest.mark.parametrize("sent", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_stop_under_load_breaks_no_answer(model: str, sent: signal.Signals) -> None:
    with process(model) as (started, address):
        clients = [Load(address) for _ in range(8)]
        for client in clients:
            client.start()
        until(lambda: all(client.answers > 3 for client in clients), "answers")
        started.send_signal(sent)
        for client in clients:
            client.join(SECONDS)
        assert started.wait(SECONDS) == 0
        # What was admitted was answered: a client finds a closed connection, never half an answer.
        for client in clients:
            assert client.statuses == {200}
            assert client.broken in (["ConnectError"], ["RemoteProtocolError"], ["ReadError"]), client.broken
        assert started.stderr is not None
        assert "Traceback" not in started.stderr.read()


@pytest.mark.slow
def test_a_killed_server_can_be_started_again(model: str) -> None:
    with process(model) as (started, address):
        client = Load(address)
        client.start()
        until(lambda: client.answers, "an answer")
        started.kill()
        client.join(SECONDS)
        assert not client.is_alive(), "no hang"
        port = int(address.split(":")[2].strip("/"))
    with process(model) as (_, again):
        assert int(again.split(":")[2].strip("/")) != port or _answers(again)


def test_the_command_serves_models_and_heads(
    head_folders: dict[str, Path], model: str, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("secret-of-a-file\n")
    arguments = [model, "--head", str(head_folders["mood"]), str(head_folders["names"])]
    with process(*arguments, "--api-key-file", str(key_file)) as (started, address):
        headers = {"Authorization": "Bearer secret-of-a-file"}
        assert httpx.get(f"{address}info").status_code == 401
        name = Path(model).name
        body = {"model": f"{name}@mean(-4:)", "input": "Hello, world!"}
        answer = httpx.post(f"{address}v1/embeddings", json=body, headers=headers, timeout=SECONDS).json()
        reference = encoder_of("bert").encode(["Hello, world!"]).mix("mean(-4:)")[0]
        assert (
            np.abs(np.array(answer["data"][0]["embedding"]) - reference).max()
            <= 1e-5 * np.abs(reference).max()
        )
        predicted = httpx.post(
            f"{address}predict/mood,names", json={"inputs": ["Rome sleeps"]}, headers=headers, timeout=SECONDS
        ).json()
        assert set(predicted["predictions"][0]) == {"doc", "mood", "names"}
        # Errors name fields, not flags.
        error = httpx.post(f"{address}layers", json={"inputs": "a", "pool": "x"}, headers=headers).json()
        assert error["error"]["message"].startswith("pool 'x'")
        body = {"inputs": "a", "prompt_name": "query"}
        error = httpx.post(f"{address}layers", json=body, headers=headers).json()
        assert error["error"]["message"].endswith("it has none; leave prompt_name out")
        started.send_signal(signal.SIGTERM)
        assert started.stderr is not None
        note = started.stderr.read()
        assert f"serving {name}, /predict/mood, /predict/names" in note
        assert "secret" not in note


def test_models_of_heads_are_served_where_none_is_named(head_folders: dict[str, Path]) -> None:
    from layerwise.api.serve import serve

    service = serve(heads=[head_folders["mood"], head_folders["names"]], device="cpu")
    assert [set(model.heads) for model in service.models.values()] == [{"mood", "names"}]


REFUSED: list[tuple[list[str], str]] = [
    (["--port", "70000"], "--port 70000 is out of range"),
    (["--host", "0.0.0.0"], "give --api-key too, or use 127.0.0.1"),
    (["--api-key", "a", "--api-key-file", "b"], "both given"),
    (["--api-key-file", "no-such-file"], "--api-key-file no-such-file"),
    (["--api-key", ""], "the key is empty"),
    (["--api-key", "a b"], "the key is empty, or has characters"),
    (["--max-wait-ms", "-1"], "--max-wait-ms -1.0 is out of range; give 0 to 10000"),
    (["--queue-tokens", "0"], "--queue-tokens 0 is out of range"),
    (["--batch-tokens", "0"], "--batch-tokens 0 is out of range"),
    (["--head", "no-such.head"], "no-such.head"),
    (
        ["--transform", "no-such-file"],
        "can't read no-such-file: No such file or directory; give the transform",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_the_command_refuses(
    model: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", model, "--device", "cpu", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert message.replace("is out of range", "") in line.replace("is out of range", "").replace(
        "is too small", ""
    )


def test_a_transform_is_told_and_one_of_another_model_is_refused(
    model: str,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = lw.extract(["a text", "another"], tmp_path / "d.lw", model=model, device="cpu")
    exported = lw.export(dataset, tmp_path / "small", to="binary", mix="2")
    transform, other = str(exported.path / "transform.safetensors"), str(model_folder("roberta"))
    capsys.readouterr()
    assert main(["serve", other, "--device", "cpu", "--transform", transform]) == 2
    assert capsys.readouterr().err.startswith("layerwise: --transform is of the model ")
    run = HttpServer.run

    def stopped_soon(server: HttpServer) -> None:
        threading.Timer(0.3, server.stop).start()
        run(server)

    monkeypatch.setattr(HttpServer, "run", stopped_soon)
    assert main(["serve", model, "--device", "cpu", "--port", "0", "--transform", transform]) == 0
    note = f"mixes of {Path(model).name} go through <Transform binary: 32 numbers of the mix 2 become 4 of uint8>"
    assert note in capsys.readouterr().err


def test_heads_of_other_models_are_refused(
    head_folders: dict[str, Path],
    model_folder: Callable[[str], Path],
    model: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = str(model_folder("roberta"))
    assert main(["serve", other, "--device", "cpu", "--head", str(head_folders["mood"])]) == 2
    assert "head 'mood' was trained on model" in capsys.readouterr().err
    assert main(["serve", model, model, "--device", "cpu"]) == 2
    assert "2 models are called" in capsys.readouterr().err
    assert main(["serve", model, other, "--revision", "main"]) == 2
    assert "--revision main is of one model and 2 are given" in capsys.readouterr().err
    twice = str(head_folders["mood"])
    assert main(["serve", model, "--device", "cpu", "--head", twice, twice]) == 2
    assert "2 heads are called 'mood'" in capsys.readouterr().err


@pytest.mark.parametrize("library", few_of(["starlette", "uvicorn", "prometheus_client"], "starlette"))
def test_a_missing_library_is_named_with_its_extra(library: str) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from layerwise.cli.main import main\n"
        "sys.exit(main(['serve', 'minilm']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'layerwise[serve]'" in done.stderr
    assert json.dumps(done.stderr).count("\\n") == 1, done.stderr


def test_a_model_with_an_at_sign_is_refused(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(model, tmp_path / "a@b")
    assert main(["serve", str(folder), "--device", "cpu"]) == 2
    assert "has an @ in its name" in capsys.readouterr().err


@pytest.mark.slow
def test_the_variable_of_the_environment_is_a_key(model: str) -> None:
    with process(model, LAYERWISE_API_KEY="of-the-environment") as (_, address):
        assert httpx.get(f"{address}info").status_code == 401
        headers = {"Authorization": "Bearer of-the-environment"}
        assert httpx.get(f"{address}info", headers=headers).status_code == 200
    assert lw.__version__
