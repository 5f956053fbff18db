"""Paths of files: on this machine, or in an object store by URL (`s3://…`, through fsspec).

A path in an object store has the interface of `pathlib.Path`; `is_remote` says which kind a path is.
"""

import logging
import os
import sys
from glob import has_magic
from pathlib import Path, PurePath
from typing import Any, cast

from layerwise.errors import RequestError

_EXTRAS = {"s3": "s3", "gs": "gs", "gcs": "gs"}
_SILENT = logging.NullHandler()
# Errors of the libraries that aren't OSErrors, by the module that holds them once it is imported.
_FAULTS = {
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "gcsfs.retry": ("HttpError", "ChecksumError"),
    "google.auth.exceptions": ("GoogleAuthError",),
    "aiohttp": ("ClientError",),
    "httpx": ("HTTPError",),
    "httpx2": ("HTTPError",),
}


def is_url(name: str | os.PathLike[str]) -> bool:
    """Return whether this is the URL of an object store."""
    return isinstance(name, str) and "://" in name


def place(name: str | Path) -> Path:
    """Return the path of `name`; cached listings of an object store are dropped.

    Raises:
        RequestError: no path, a URL of an unknown kind, or one that needs a package that isn't installed.
    """
    if is_remote(name):
        return cast(Path, name)
    if not is_url(name):
        return local_path(name)
    path = _remote(str(name))
    path.fs.invalidate_cache()  # type: ignore[attr-defined]
    return path


def local_path(name: Any) -> Path:
    """Return the path of a file or folder on this machine.

    Raises:
        RequestError: a value that is no path, or a URL.
    """
    if not isinstance(name, str | os.PathLike):
        raise RequestError(f"{type(name).__name__} {name!r:.60} is no path; give a string or a pathlib.Path")
    text = os.fsdecode(name)
    if "\0" in text:
        raise RequestError(f"path {text!r:.60} holds a NUL character, which no path has; remove it")
    if is_url(text):
        raise RequestError(f"{text} is a URL; give a path on this machine")
    return name if isinstance(name, Path) else Path(text)


def _remote(name: str) -> Path:
    kind = name.partition("://")[0]
    try:
        from upath import UPath

        path = UPath(name.rstrip("/"), **_options(kind))
        assert path.fs is not None  # creates the file system, so that a missing package is reported now
        return cast(Path, path)
    except ImportError as error:
        extra = _EXTRAS.get(kind, "s3")
        raise RequestError(
            f"{name} needs a package that isn't installed ({error.name or str(error).partition(' to ')[0]}); "
            f"run: pip install 'layerwise[{extra}]'"
        ) from None
    except ValueError as error:
        raise RequestError(
            f"{name} can't be used: {str(error).splitlines()[0]}; give a path, or s3://…"
        ) from None


def _options(kind: str) -> dict[str, Any]:
    if kind not in _EXTRAS:
        return {}
    # No cached listings, because several processes may write; retry when the store is busy.
    if kind == "s3":
        retries = {"mode": "standard", "max_attempts": 8}
        return {"use_listings_cache": False, "config_kwargs": {"retries": retries}}
    # gcsfs retries by itself, and would print the traceback of each error that it raises.
    logging.getLogger("gcsfs").addHandler(_SILENT)
    return {"use_listings_cache": False}


def is_remote(path: object) -> bool:
    """Return whether a path is in an object store."""
    return not isinstance(path, str | PurePath) and hasattr(path, "fs")  # what a path of fsspec has


def is_read_only(path: str | Path) -> bool:
    """Return whether a path is on the Hugging Face hub, where each written file would be a commit."""
    return str(path).startswith("hf://")


def read_range(path: Path, start: int, end: int) -> bytes:
    """Return bytes `start` … `end` − 1 of a file in an object store, fetching no others."""
    fs = path.fs  # type: ignore[attr-defined]
    data: bytes = fs.cat_file(path.path, start=start, end=end)  # type: ignore[attr-defined]
    if len(data) != end - start:
        raise OSError(f"{len(data)} bytes were returned where {end - start} were requested")
    return data


def upload(source: Path, target: Path) -> None:
    """Upload a local file to an object store, atomically."""
    target.fs.put_file(os.fspath(source), target.path)  # type: ignore[attr-defined]


def put_new(target: Path, data: bytes) -> bool:
    """Create an object unless it exists; return whether it was created."""
    try:
        target.fs.pipe_file(target.path, data, mode="create")  # type: ignore[attr-defined]
    except FileExistsError:
        return False
    return True


def faults() -> tuple[type[BaseException], ...]:
    """Return the errors that an object store may raise, OSError included."""
    classes = [
        getattr(sys.modules[module], name)
        for module, names in _FAULTS.items()
        if sys.modules.get(module)
        for name in names
    ]
    return (OSError, *classes)


def reason(error: BaseException) -> str:
    """Return the message of an error, in one line."""
    return (
        getattr(error, "strerror", None) or str(error).partition("\n")[0].rstrip(". ") or type(error).__name__
    )


def matches(pattern: str) -> list[Path]:
    """Return the files that match a glob in an object store, sorted; for a folder all its files, at any depth."""
    root = place(pattern)
    kind = pattern.partition("://")[0]
    find = root.fs.glob if has_magic(pattern) else root.fs.find  # type: ignore[attr-defined]
    entries = find(root.path, detail=True)  # type: ignore[attr-defined]
    files = sorted(name for name, info in entries.items() if info["type"] == "file")
    return [_remote(f"{kind}://{name.lstrip('/') if kind != 'memory' else name}") for name in files]
