"""Run commands and watch what they ask of the network, in two ways.

- Python reports every look-up of a name, and every address that a socket is bound to, connected to or sent to, before it
  happens (audit events); of this process only.
- In a network namespace of its own, which has no route to anywhere but itself, the kernel counts what it can't send: of every
  process and thread, and of native code. Names are looked up at an address without a route.

usage: isolated.py COMMANDS RESULTS, two files of JSON: a list of arguments per command, and the fields of `Results`. Run it by
`warm.Python`, whose processes have one thread: only such a process can enter a namespace.
"""

import contextlib
import ctypes
import fcntl
import io
import ipaddress
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import warm

_EVENTS = (
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
)
_NEW_MOUNTS, _NEW_USER, _NEW_NETWORK = 0x20000, 0x10000000, 0x40000000  # sched.h
_BIND = 4096  # sys/mount.h
_SET_FLAGS, _UP = 0x8914, 1  # of a network device
NOWHERE, NOWHERE_6 = "192.0.2.1", "2001:db8::1"  # addresses of documentation, RFC 5737 and 3849
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


@dataclass(frozen=True)
class Ran:
    """What one run of a command gave: exit code, messages, hosts that Python named, and the number of packets without a route."""

    arguments: list[str]
    code: int
    messages: str
    hosts: list[tuple[str, str]]
    unsent: int


@dataclass(frozen=True)
class Results:
    """The runs; why there was no namespace, else `None`; and the packets that the kernel counted for uses of the network."""

    runs: list[Ran]
    why_not: str | None
    controls: dict[str, int] = field(default_factory=dict)


def ran(arguments: list[str]) -> Ran:
    from layerwise.cli.main import main

    messages, before = io.StringIO(), unsent()
    with (
        watched() as events,
        contextlib.redirect_stderr(messages),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = main(arguments)
    return Ran(arguments, code, messages.getvalue(), list(events), unsent() - before)


# --- the namespace ----------------------------------------------------------------------------------------


def enter_namespace() -> str | None:
    """Enter a network that is this process and its children; return why that isn't allowed here."""
    if sys.platform != "linux":
        return f"{sys.platform} has no network namespaces"
    # A child tries it: what stops half-way would leave this process in a namespace where nothing works.
    child = os.fork()
    if child == 0:
        try:
            _enter()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    if problem := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        return f"no network namespace can be made: {os.strerror(problem)}"
    _enter()
    return None


def _enter() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_NETWORK | _NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        fcntl.ioctl(device, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
    # A resolver on this machine would look names up elsewhere.
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {
            "resolv.conf": f"nameserver {NOWHERE}",
            "nsswitch.conf": "hosts: files dns",
        }.items():
            file = Path(folder, name)
            file.write_text(f"{content}\n")
            libc.mount(os.fsencode(file), b"/etc/" + name.encode(), None, _BIND, None)


def unsent() -> int:
    """Return how many packets had no route in this network so far; 0 where the kernel doesn't count them."""
    with suppress(OSError):
        names, numbers = Path("/proc/net/snmp").read_text().splitlines()[:2]
        of_4 = dict(zip(names.split(), numbers.split(), strict=True))["OutNoRoutes"]
        of_6 = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
        return int(of_4) + int(of_6.get("Ip6OutNoRoutes", 0))
    return 0


def counted_in_child(work: Callable[[], Any]) -> int:
    """Return how many packets without a route the kernel counts for what a child process does."""
    before = unsent()
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return unsent() - before


def controls() -> dict[str, int]:
    """Use the network in child processes, by native code that Python doesn't report."""
    libc = ctypes.CDLL(None)

    def connect() -> None:
        with socket.socket() as stream:
            address = (
                struct.pack("=H", socket.AF_INET)
                + struct.pack("!H", 9)
                + socket.inet_aton(NOWHERE)
                + bytes(8)
            )
            libc.connect(stream.fileno(), address, len(address))

    def send_6() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams, suppress(OSError):
            datagrams.sendto(b"", (NOWHERE_6, 9))

    def here() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()

    work = {"connect": connect, "name": lambda: libc.gethostbyname(b"nowhere.invalid"), "here": here}
    if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
        work["send_6"] = send_6
    return {name: counted_in_child(each) for name, each in work.items()}


def counted_in_worker(python: warm.Python) -> int:
    """Return how many packets without a route the kernel counts for a process like those of `--workers`."""
    before = unsent()
    code = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect_ex(('{NOWHERE}', 9))"
    python.popen([sys.executable, "-c", code], env=dict(os.environ)).wait()
    return unsent() - before


@contextlib.contextmanager
def forked_server() -> Iterator[warm.Python]:
    """Start a server of processes in this namespace: a copy of this process, which has imported all that they need."""
    # No TemporaryDirectory: each forked process would remove it at its end.
    folder = tempfile.mkdtemp()
    address, here, there = f"{folder}/socket", os.pipe(), os.pipe()
    server = os.fork()
    if server == 0:
        os.dup2(here[0], 0)
        os.dup2(there[1], 1)
        for file in (*here, *there):
            os.close(file)
        warm.become(**warm.serve(address))
    os.close(here[0])
    os.close(there[1])
    with os.fdopen(there[0], "rb") as said:
        assert said.readline() == b"ready\n"
    yield warm.Python(address)
    os.close(here[1])
    os.waitpid(server, 0)
    shutil.rmtree(folder)


def run_all(commands: list[list[str]]) -> Results:
    """Run commands one after the other; servers answer until they are stopped, at once."""
    why_not = enter_namespace()
    controlled = {} if why_not else controls()
    with forked_server() as python:
        if not why_not:
            controlled["worker"] = counted_in_worker(python)
        import pytest

        from conftest import quicken_ceilings
        from layerwise.parallel import local
        from layerwise.server.loopback import Loopback
        from layerwise.server.run import HttpServer

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
            patch.setattr(local, "subprocess", SimpleNamespace(Popen=python.popen, PIPE=subprocess.PIPE))
            quicken_ceilings(patch)
            return Results([ran(arguments) for arguments in commands], why_not, controlled)


if __name__ == "__main__":
    given, out = map(Path, sys.argv[1:])
    out.write_text(json.dumps(asdict(run_all(json.loads(given.read_text())))))
