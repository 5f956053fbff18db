"""Where files stand: a path of this machine, or a URL of an object store (`s3://…`), by fsspec.

A place in an object store has the face of a `pathlib.Path`; what differs is said by `is_remote`.
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
# What the libraries raise besides OSError, and where it is found once they are imported.
_FAULTS = {
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "gcsfs.retry": ("HttpError", "ChecksumError"),
    "google.auth.exceptions": ("GoogleAuthError",),
    "aiohttp": ("ClientError",),
    "httpx": ("HTTPError",),
    "httpx2": ("HTTPError",),
}


def is_url(name: str | Path) -> bool:
    """Tell whether this names a place in an object store."""
    return isinstance(name, str) and "://" in name


def place(name: str | Path) -> Path:
    """Return the place called `name`; nothing that was listed there before is remembered.

    Raises:
        RequestError: a URL whose kind isn't known, or needs a package that isn't installed.
    """
    if not is_url(name):
        return name if isinstance(name, Path) or is_remote(name) else Path(name)  # type: ignore[return-value]
    path = _remote(str(name))
    path.fs.invalidate_cache()  # type: ignore[attr-defined]
    return path


def _remote(name: str) -> Path:
    kind = name.partition("://")[0]
    try:
        from upath import UPath

        path = UPath(name.rstrip("/"), **_options(kind))
        assert path.fs is not None  # made now, so that what it lacks is told now
        return cast(Path, path)
    except ImportError as error:
        extra = _EXTRAS.get(kind, "s3")
        raise RequestError(
            f"{name} needs a package that isn't installed ({error.name or str(error).partition(' to ')[0]}); "
            f"run: pip install 'layerwise[{extra}]'"
        ) from None
    except ValueError as error:
        raise RequestError(
            f"{name} can't be used: {str(error).splitlines()[0]}; take a path, or s3://…"
        ) from None


def _options(kind: str) -> dict[str, Any]:
    if kind not in _EXTRAS:
        return {}
    # What is listed is what is there now, as several may write; and a store that is busy is asked again.
    if kind == "s3":
        retries = {"mode": "standard", "max_attempts": 8}
        return {"use_listings_cache": False, "config_kwargs": {"retries": retries}}
    # It asks again by itself, and would print the stack of each fault that it raises.
    logging.getLogger("gcsfs").addHandler(_SILENT)
    return {"use_listings_cache": False}


def is_remote(path: str | Path) -> bool:
    """Tell whether a place stands in an object store."""
    return not isinstance(path, str | PurePath)


def is_read_only(path: str | Path) -> bool:
    """Tell whether a place stands on the hub, where each file that is put would be a commit."""
    return str(path).startswith("hf://")


def read_range(path: Path, start: int, end: int) -> bytes:
    """Return some bytes of a file in an object store, and no others are fetched."""
    fs = path.fs  # type: ignore[attr-defined]
    data: bytes = fs.cat_file(path.path, start=start, end=end)  # type: ignore[attr-defined]
    if len(data) != end - start:
        raise OSError(f"{len(data)} bytes came where {end - start} were asked for")
    return data


def upload(source: Path, target: Path) -> None:
    """Put a file of this machine into an object store, at once or not at all."""
    target.fs.put_file(os.fspath(source), target.path)  # type: ignore[attr-defined]


def put_new(target: Path, data: bytes) -> bool:
    """Put an object where none is; tell whether there was none."""
    try:
        target.fs.pipe_file(target.path, data, mode="create")  # type: ignore[attr-defined]
    except FileExistsError:
        return False
    return True


def faults() -> tuple[type[BaseException], ...]:
    """Return what an object store may raise besides OSError."""
    known = [
        getattr(sys.modules[module], name)
        for module, names in _FAULTS.items()
        if sys.modules.get(module)
        for name in names
    ]
    return (OSError, *known)


def reason(error: BaseException) -> str:
    """Return what a fault says, in one line."""
    return (
        getattr(error, "strerror", None) or str(error).partition("\n")[0].rstrip(". ") or type(error).__name__
    )


def matches(pattern: str) -> list[Path]:
    """Return the files that a glob in an object store means, sorted; of a folder all files in it, at any depth."""
    root = place(pattern)
    kind = pattern.partition("://")[0]
    find = root.fs.glob if has_magic(pattern) else root.fs.find  # type: ignore[attr-defined]
    found = find(root.path, detail=True)  # type: ignore[attr-defined]
    files = sorted(name for name, info in found.items() if info["type"] == "file")
    return [_remote(f"{kind}://{name.lstrip('/') if kind != 'memory' else name}") for name in files]
