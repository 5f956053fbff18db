"""Find the files that the user named (paths, globs, folders, standard input, URLs), and their format."""

import errno
import glob
import os
import shlex
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerwise._util.paths import faults, is_remote, is_url, matches, place, reason
from layerwise.arguments import are_flags, argument, is_offered
from layerwise.choices import FORMATS, one_of
from layerwise.errors import RequestError, SourceError
from layerwise.example import clean
from layerwise.read.endings import COMPRESSED, FORMAT_OF, has_known_ending
from layerwise.read.file import File
from layerwise.read.foreign import advice_for
from layerwise.read.in_memory import IN_MEMORY, in_memory_file, is_in_memory, items_of
from layerwise.read.recognise import holds_conll
from layerwise.read.record import shown
from layerwise.read.saved import saved_files

STDIN = "-"
_CHOICES = ", ".join(FORMATS[1:])
_LONGEST_TEXT = 60  # characters of a text that a message repeats


def source_names(sources: Any, format: str) -> list[str]:
    """Return the names of sources, as they were given; `-` for data in memory, which can't be found again."""
    if format == IN_MEMORY:
        return [STDIN]
    return [str(name) for name in ([sources] if isinstance(sources, str | Path) else items_of(sources))]


def find_files(sources: Any, format: str) -> tuple[str, list[File]]:
    """Return the format and the files that `sources` name, in argument order, globs sorted.

    Raises:
        RequestError: no source, an object that is none, an unknown format, a format that can't come from standard input.
        SourceError: a missing file, a glob without a match, a folder with another format than `docs`, an
            extension of no known format, files of several formats.
    """
    if is_in_memory(sources, format):
        if format not in ("auto", IN_MEMORY):
            raise RequestError(
                f"{argument('format', format)} is for files, and the source is data in memory; leave it out"
            )
        return IN_MEMORY, [in_memory_file(sources)]
    if format == IN_MEMORY:
        format = "auto"  # a dataset of data in memory, whose texts are in files now
    one_of("format", format, FORMATS)
    names = [sources] if isinstance(sources, str | Path) else list(items_of(sources))
    if not names:
        raise RequestError(
            f"there is no source; name files, a folder with {argument('format', 'docs')}, or - for stdin"
        )
    files = [file for name in names for file in _named(_posix(name), format)]
    if format == "auto":
        format = _common_format(files)
    elif format == "hf" and not all(file.format == "hf" for file in files):
        raise SourceError(
            f"{files[0].label} is no folder that save_to_disk wrote; name one, or another {argument('format')}"
        )
    if format in ("parquet", "arrow", "hf") and any(file.path is None for file in files):
        name = {"parquet": "Parquet", "hf": "a folder of datasets"}.get(format, "Arrow")
        raise RequestError(f"{name} can't be read from stdin, only from files; name one")
    if sum(file.path is None for file in files) > 1:
        raise RequestError("stdin is named twice; it can be read only once")
    return format, files


def _posix(name: str | Path) -> str:
    if is_url(name):
        return str(name)
    return name.as_posix() if isinstance(name, Path) else name.replace(os.sep, "/")


def _named(name: str, format: str) -> list[File]:
    if name == STDIN:
        return [File(None, STDIN, "stdin", id=STDIN, once=True)]
    if is_url(name):
        return _remote(name, format)
    try:
        if name and Path(name).is_dir():
            return _folder(name, format)
        if name and Path(name).exists():
            return [_file(name)]
        return [_file(match) for match in _matches(name)]
    except OSError as error:
        advice = _if_text(name) if error.errno == errno.ENAMETOOLONG else ""
        raise SourceError(
            f"{shown(clean(name))} can't be read: {error.strerror}; name another file{advice}"
        ) from error


def _remote(name: str, format: str) -> list[File]:
    """Return the files that a URL names: one, those of a glob, or with `docs` all in a folder."""
    path = place(name)
    try:
        # Not `is_file`: it returns False when the store is down. Some stores answer "forbidden" for a missing file.
        with suppress(FileNotFoundError, PermissionError):
            status = path.stat()
            if not stat.S_ISDIR(status.st_mode):
                return [File(path, name, name, id=name, size=status.st_size)]
        paths = matches(name)
        if paths and not glob.has_magic(name) and format != "docs":
            raise _is_folder(name)
        if not paths:
            raise SourceError(
                f"{name} doesn't exist; name a file, a glob, or a folder with {argument('format', 'docs')}"
            )
        cut = 0 if glob.has_magic(name) else len(name.rstrip("/")) + 1
        return [File(p, str(p), str(p), id=str(p)[cut:], size=p.stat().st_size) for p in paths]
    except (ValueError, *faults()) as error:  # type: ignore[misc]  # ValueError: an impossible name
        raise SourceError(f"{name} can't be read: {reason(error)}; name another file") from error


def _is_folder(name: str) -> SourceError:
    if not is_offered("format"):
        return SourceError(f"{name} is a folder; name a file")
    return SourceError(
        f"{name} is a folder; {argument('format', 'docs')} reads each file in it as one text, "
        f"a glob{_glob_of(name)} names files of another format"
    )


def _glob_of(name: str) -> str:
    """Return an example of a glob for a folder: its files with an ending that names a format."""
    if is_url(name):
        return ""
    with suppress(OSError):
        endings = {path.suffix for path in Path(name).iterdir() if path.is_file()} & FORMAT_OF.keys()
        return f" such as {name.rstrip('/')}/*{min(endings)}" if endings else ""
    return ""


def _matches(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        folder = f", a folder with {argument('format', 'docs')}" if is_offered("format") else ""
        raise SourceError(
            f"{clean(pattern) or repr(pattern)} doesn't exist; name a file, a glob{folder}, or - for stdin{_if_text(pattern)}"
        )
    paths = sorted(_posix(match) for match in glob.glob(pattern, recursive=True))
    files = [path for path in paths if not Path(path).is_dir()]
    if not files:
        named = f"name one with {argument('format', 'docs')}" if is_offered("format") else "name a file"
        advice = (
            f", only folders; {named}" if paths else f"; correct it, or name the files{_if_text(pattern)}"
        )
        raise SourceError(f"the glob {clean(pattern)!r} matches no file{advice}")
    return files


def _if_text(name: str) -> str:
    """Return how a text is given, where what should name a file may be one; nothing where it ends as a file does."""
    if not are_flags():
        return f"; a text stands in a list: [{shown(clean(name))}]"
    if not name.strip() or has_known_ending(name) or not is_offered("source"):
        return ""
    text = shlex.quote(clean(name)) if len(name) <= _LONGEST_TEXT else '"TEXT"'
    return f"; a text itself comes from stdin: echo {text} | layerwise …, with - where the file would stand"


def _file(name: str, source: str | None = None, id: str | None = None) -> File:
    status = Path(name).stat()
    label = clean(name)
    once = not stat.S_ISREG(status.st_mode)
    return File(Path(name), source or label, label, id=id or label, size=status.st_size, once=once)


def _folder(name: str, format: str) -> list[File]:
    if (Path(name) / "manifest.json.sha256").is_file():
        raise SourceError(
            f"{clean(name)} is a dataset, which holds vectors; name the source that its texts came from"
        )
    if format in ("auto", "hf") and (files := saved_files(Path(name))) is not None:
        return [replace(_file(path.as_posix()), format="hf") for path in files]
    if format != "docs":
        raise _is_folder(clean(name))
    paths = sorted(path.relative_to(name).as_posix() for path in _walk(Path(name)))
    if not paths:
        raise SourceError(f"the folder {clean(name)} holds no files; name one that does")
    return [_file(f"{name.rstrip('/')}/{path}", source=clean(name), id=clean(path)) for path in paths]


def _walk(folder: Path) -> list[Path]:
    files = []
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        # A link to a folder may lead back to a folder above it.
        if entry.is_dir() and not entry.is_symlink():
            files += _walk(entry)
        elif entry.is_file():
            files.append(entry)
    return files


def _common_format(files: list[File]) -> str:
    # In reverse, so that the first file of each format remains, for the message.
    formats = {_format_of(file): file.label for file in reversed(files)}
    if len(formats) > 1:
        (first, first_label), (second, second_label) = list(formats.items())[:2]
        raise SourceError(
            f"{first_label} ({first}) and {second_label} ({second}) are of different formats; "
            f"give files of one format, or name it with {argument('format')}"
        )
    return next(iter(formats))


def _format_of(file: File) -> str:
    if file.format is not None:
        return file.format
    if file.path is None:
        return "txt"
    suffixes = file.path.suffixes
    ending = suffixes[-1] if suffixes else ""
    if ending.lower() in COMPRESSED:  # of rows.csv.gz the format is that of rows.csv
        ending = suffixes[-2] if len(suffixes) > 1 else ""
    format = FORMAT_OF.get(ending.lower())
    if format in (None, "txt") and not file.once and not is_remote(file.path) and holds_conll(file):
        file.recognised = True
        return "conll"
    if format is None and (advice := advice_for(ending)) is not None:
        raise SourceError(f"{file.label}: files that end in {clean(ending)} can't be read; {advice}")
    if format is None:
        what = f"the ending {clean(ending)!r}" if ending else "a name without an ending"
        raise SourceError(
            f"{file.label}: {what} names no format; choose one with {argument('format')}: {_CHOICES}"
        )
    return format
