"""Python processes that don't pay for the import of torch: a server that has imported it forks them.

The server imports packages of others and nothing of layerwise, which each process imports by itself, as a new
interpreter does. It has no threads, which a fork would lose.

usage: warm.py serve SOCKET, or, as its client, warm.py run SOCKET ARGUMENT ...; a client passes on its arguments
(as Python takes them: -m MODULE, -c CODE, or a script), environment, folder and standard files, and ends as the
process ends; when a client is killed, so is the process. Where signals are sent to a process, start a real one.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

IMPORTED = (
    "filelock huggingface_hub matplotlib.backends.backend_agg matplotlib.backends.backend_svg matplotlib.figure numpy "
    "pyarrow.compute pyarrow.csv pyarrow.json pyarrow.parquet safetensors.torch scipy.optimize scipy.sparse "
    "scipy.stats sklearn.linear_model sklearn.metrics sklearn.model_selection sklearn.pipeline threadpoolctl "
    "tokenizers torch transformers transformers.modeling_utils transformers.models.auto.modeling_auto "
    "transformers.models.auto.tokenization_auto transformers.models.bert.modeling_bert "
    "transformers.models.bert.tokenization_bert"
)


class Python:
    """Makes processes, each as a new interpreter would be: forked by a server, or real where there is none."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def __call__(self, *arguments: str) -> list[str]:
        """Return the command that runs Python with some arguments."""
        if self._address is None:
            return [sys.executable, *arguments]
        return [sys.executable, "-S", "-E", __file__, "run", self._address, *arguments]

    def popen(self, command: list[str], **options: Any) -> Any:
        """Do what `subprocess.Popen` does for a Python that is spoken to by its standard input and output."""
        if self._address is None:
            return subprocess.Popen(command, **options)
        return Forked(self._address, command[1:], options["env"])


class Forked:
    """A process as `subprocess.Popen` would have it, in a session of its own."""

    def __init__(self, address: str, arguments: list[str], environment: dict[str, str]) -> None:
        here, there = os.pipe(), os.pipe()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(address)
        send(self._server, [here[0], there[1], 2], arguments, environment, session=True)
        os.close(here[0])
        os.close(there[1])
        self.stdin, self.stdout = os.fdopen(here[1], "wb"), os.fdopen(there[0], "rb")
        self._said = self._server.makefile("r")
        self.pid = int(self._said.readline())
        self.returncode: int | None = None
        self._waiting = threading.Lock()

    def kill(self) -> None:
        """Kill it, if it is there."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return its status in the end."""
        with self._waiting:
            if self.returncode is None:
                self.returncode = int(self._said.readline())
                self._said.close()
                self._server.close()
        return self.returncode


@contextmanager
def warm_python() -> Iterator[Python]:
    """Start a server, and end it with all that it forked."""
    if sys.platform != "linux":
        yield Python(None)
        return
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/socket"
        with subprocess.Popen(
            [sys.executable, __file__, "serve", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | one_thread,
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n", "the server of warm processes didn't start"
            yield Python(address)
            server.stdin.close()


def serve(address: str) -> dict[str, Any]:
    """Fork a process for each client, until standard input ends; return what is asked for, in each process."""
    for name in IMPORTED.split():
        with suppress(ImportError):  # what isn't installed isn't needed
            importlib.import_module(name)
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(16)
    clients: dict[socket.socket, int] = {}
    gc.collect()
    gc.freeze()  # so that no process copies what it only walks over
    print("ready", flush=True)
    while True:
        watched: list[Any] = [0, woken, server, *clients]
        ready, _, _ = select.select(watched, [], [])
        for one in ready:
            if one == 0:
                for child in clients.values():
                    os.kill(child, signal.SIGKILL)
                os._exit(0)
            elif one is server:
                client, _ = server.accept()
                found, files = asked(client)
                child = os.fork()
                if child == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for other in (woken, wake, server, client, *clients):
                        other.close()
                    for at, file in enumerate(files):
                        os.dup2(file, at)
                        os.close(file)
                    return found
                for file in files:
                    os.close(file)
                clients[client] = child
                say(client, child)
            elif one is woken:
                woken.recv(1000)
                for client, status in ended(clients):
                    say(client, status)
                    client.close()
            elif one in clients and not one.recv(1):
                os.kill(clients[one], signal.SIGKILL)


def ended(clients: dict[socket.socket, int]) -> list[tuple[socket.socket, int]]:
    """Take out the clients whose processes have ended; return them with the exit statuses."""
    found = []
    for client, child in list(clients.items()):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            del clients[client]
            found.append((client, os.waitstatus_to_exitcode(status)))
    return found


def say(client: socket.socket, number: int) -> None:
    """Tell a client the number of its process, or its status."""
    with suppress(OSError):  # it was killed
        client.sendall(f"{number}\n".encode())


def asked(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Receive what a client asks for, and its standard files."""
    data, files, _, _ = socket.recv_fds(client, 1 << 16, 3)
    while not data.endswith(b"\n"):
        data += client.recv(1 << 16)
    return json.loads(data), files


def become(**asked: Any) -> None:
    """Do what Python would do with these arguments, and end; what was imported isn't taken down bit by bit."""
    status: Any = 0
    try:
        execute(**asked)
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def execute(folder: str, environment: dict[str, str], arguments: list[str], session: bool) -> None:
    """Do what Python does with these arguments."""
    if session:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    threads = environment.get("OMP_NUM_THREADS", "1")
    if threads != "1":
        sys.modules["torch"].set_num_threads(int(threads))  # as if it had been so when torch was imported
    safe = arguments[0] == "-P"
    first, *others = arguments[1:] if safe else arguments
    given = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [folder, *given, *(path for path in sys.path[1:] if path not in given)]
    if safe:
        del sys.path[0]
    if first == "-m":
        sys.argv = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv, sys.path[0] = ["-c", *others[1:]], sys.path[0] if safe else ""
        exec(compile(others[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = arguments, str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")


def send(
    server: socket.socket, files: list[int], arguments: list[str], environment: dict[str, str], session: bool
) -> None:
    """Ask a server for a process."""
    asked = {
        "folder": str(Path.cwd()),
        "environment": environment,
        "arguments": arguments,
        "session": session,
    }
    data = json.dumps(asked).encode() + b"\n"
    sent = socket.send_fds(server, [data], files)
    server.sendall(data[sent:])


def run(address: str, arguments: list[str]) -> None:
    """Let the server run a process, and end as it does."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        send(server, [0, 1, 2], arguments, dict(os.environ), session=False)
        with server.makefile("r") as said:
            _, status = int(said.readline()), int(said.readline())
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2], sys.argv[3:])
    become(**serve(sys.argv[2]))
