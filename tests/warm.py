"""Python processes that don't pay for the import of torch: a server that has imported it forks them.

The server imports packages of others and nothing of layerwise, which each process imports by itself, as a new
interpreter does. It has no threads, which a fork would lose.

usage: warm.py serve SOCKET, or, as its client, warm.py run SOCKET ARGUMENT ...; a client passes on its arguments
(as Python takes them: -m MODULE, -c CODE, or a script), environment, folder and standard files, and ends as the
process ends; when a client is killed, so is the process. Where signals are sent to a process, start a real one.
"""

import array
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
import threading
import traceback
from collections.abc import Callable, Iterator
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


@contextmanager
def warm_python(folder: Path) -> Iterator[Callable[..., list[str]]]:
    """Start a server; yield a function from the arguments of Python to the command that runs them."""
    if sys.platform != "linux":
        yield lambda *arguments: [sys.executable, *arguments]
        return
    address, client = str(folder / "warm"), [sys.executable, "-S", "-E", __file__, "run"]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with subprocess.Popen(
        [sys.executable, __file__, "serve", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | one_thread,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n", "the server of warm processes didn't start"
        yield lambda *arguments: [*client, address, *arguments]
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
            elif one is woken:
                woken.recv(1000)
                for client, status in ended(clients):
                    with suppress(OSError):  # it was killed
                        client.sendall(str(status).encode())
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


def asked(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Receive what a client asks for, and its standard files."""
    data, files, _, _ = socket.recv_fds(client, 1 << 16, 3)
    while not data.endswith(b"\n"):
        data += client.recv(1 << 16)
    return json.loads(data), files


def become(folder: str, environment: dict[str, str], arguments: list[str]) -> None:
    """Do what Python would do with these arguments, and end; what was imported isn't taken down piece by piece."""
    status: Any = 0
    try:
        execute(folder, environment, arguments)
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


def execute(folder: str, environment: dict[str, str], arguments: list[str]) -> None:
    """Do what Python does with these arguments."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    first, *others = arguments
    if first == "-m":
        sys.argv, sys.path[0] = others, folder
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv, sys.path[0] = ["-c", *others[1:]], ""
        exec(compile(others[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = arguments, str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")


def run(address: str, arguments: list[str]) -> None:
    """Let the server run a process, and end as it does."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        asked = {"folder": str(Path.cwd()), "environment": dict(os.environ), "arguments": arguments}
        data = json.dumps(asked).encode() + b"\n"
        files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
        sent = server.sendmsg([data], files)
        server.sendall(data[sent:])
        status = int(server.recv(100))
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2], sys.argv[3:])
    become(**serve(sys.argv[2]))
