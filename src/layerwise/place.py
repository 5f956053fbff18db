"""Where files stand: a path of this machine, or a URL of an object store (`s3://…`), by fsspec.

A place in an object store has the face of a `pathlib.Path`; what differs is said by `is_remote`.
"""

import os
import sys
from pathlib import Path, PurePath
from typing import Any, cast

from layerwise.errors import RequestError

_EXTRAS = {"s3": "s3", "gs": "gs", "gcs": "gs"}


def is_url(name: str | Path) -> bool:
    """Tell whether this names a place in an object store."""
    return isinstance(name, str) and "://" in name


def place(name: str | Path) -> Path:
    """Return the place called `name`.

    Raises:
        RequestError: a URL whose kind isn't known, or needs a package that isn't installed.
    """
    if not is_url(name):
        return name if isinstance(name, Path) or is_remote(name) else Path(name)  # type: ignore[return-value]
    kind = str(name).partition("://")[0]
    try:
        from upath import UPath

        path = UPath(str(name).rstrip("/"), **_options(kind))
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
    if kind != "s3":
        return {}
    # What is listed is what is there now, as several may write; and a store that is busy is asked again.
    return {
        "use_listings_cache": False,
        "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 8}},
    }


def is_remote(path: str | Path) -> bool:
    """Tell whether a place stands in an object store."""
    return not isinstance(path, str | PurePath)


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
    exceptions = sys.modules.get("botocore.exceptions")
    return (OSError, exceptions.BotoCoreError, exceptions.ClientError) if exceptions else (OSError,)


def matches(pattern: str) -> list[str]:
    """Return the URLs that a glob in an object store means, sorted; of a folder all files in it, at any depth."""
    root = place(pattern)
    kind = pattern.partition("://")[0]
    fs = root.fs  # type: ignore[attr-defined]
    found = fs.glob(root.path) if "*" in pattern else fs.find(root.path)  # type: ignore[attr-defined]
    return [f"{kind}://{name.lstrip('/') if kind != 'memory' else name}" for name in sorted(found)]
