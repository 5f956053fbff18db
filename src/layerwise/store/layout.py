"""The files of a dataset, and how its JSON is written and read. `docs/reference/format.md` describes them in prose.

out/manifest.json           written last
out/manifest.json.sha256    as sha256sum writes it
out/shards-HASH.parquet     a record per shard
out/run.json                what was measured while it was made: differs from run to run, and no hash covers it
out/shards/00000.safetensors, 00000.index.parquet, 00000.texts.parquet
out/work/                   while unfinished: settings.json, and a commit record 00000.json per shard; with
                            several writers I-of-N.lock, held by each, and I-of-N.end.json when it has finished
out/.lock                   held by the one writer, or for a moment by each of several
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from layerwise._util.guarded import read_json
from layerwise._util.paths import faults, reason
from layerwise.arguments import argument
from layerwise.errors import DatasetError
from layerwise.store.json_object import JsonObject, WrongEntryError

FORMAT = "layerwise"
VERSION = 2
Object = TypeVar("Object", bound=JsonObject)
KINDS = {"tensors": "safetensors", "index": "index.parquet", "texts": "texts.parquet"}


@dataclass(frozen=True, slots=True)
class Folder:
    """Names every file of a dataset."""

    root: Path

    @property
    def manifest(self) -> Path:
        """What the dataset is; exists when it is finished."""
        return self.root / "manifest.json"

    @property
    def checksum(self) -> Path:
        """The hash of the manifest."""
        return self.root / "manifest.json.sha256"

    @property
    def run(self) -> Path:
        """What was measured while the dataset was made."""
        return self.root / "run.json"

    @property
    def shards(self) -> Path:
        """The folder of the rows."""
        return self.root / "shards"

    @property
    def work(self) -> Path:
        """The folder of unfinished work."""
        return self.root / "work"

    @property
    def settings(self) -> Path:
        """The settings of unfinished work."""
        return self.work / "settings.json"

    @property
    def lock(self) -> Path:
        """The file whose lock the writer holds."""
        return self.root / ".lock"

    def share_lock(self, share: tuple[int, int]) -> Path:
        """The file whose lock is held by one of several writers: (index, count)."""
        return self.work / f"{share[0]}-of-{share[1]}.lock"

    def share_end(self, share: tuple[int, int]) -> Path:
        """What one of several writers records when it has read the whole source."""
        return self.work / f"{share[0]}-of-{share[1]}.end.json"

    def record(self, number: int) -> Path:
        """Return the commit record of a shard; it is written after the shard's other files."""
        return self.work / f"{number:05d}.json"

    def shard(self, number: int, kind: str) -> Path:
        """Return one of the three files of a shard; `kind` is one of `KINDS`."""
        return self.shards / f"{number:05d}.{KINDS[kind]}"


class ForeignFormatError(DatasetError):
    """A file of another program, or of another version of layerwise; it isn't damaged."""


def to_json(value: Any) -> bytes:
    """Return a value as JSON as layerwise writes it: names sorted, indented by 1, in UTF-8."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    # A path that isn't UTF-8 holds lone surrogates; as a JSON escape they are read back as they were.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def from_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of a dataset.

    Raises:
        DatasetError: no such file, no regular one, no JSON, or no object.
    """
    try:
        value = read_json(path)
    except faults() as error:
        raise DatasetError(f"can't read {path}: {reason(error)}; correct this and run again") from error
    except ValueError as error:
        raise DatasetError(f"{path} is damaged, it holds no JSON: {error}; restore it from a copy") from error
    if not isinstance(value, dict):
        raise DatasetError(f"{path} is damaged, it holds no JSON object; restore it from a copy")
    return value


def parsed(kind: type[Object], value: Any, path: Path) -> Object:
    """Return the object that a JSON value in a file of a dataset stands for.

    Raises:
        DatasetError: naming the file and its first invalid entry.
    """
    try:
        return kind.from_json(value)
    except WrongEntryError as error:
        raise damaged(path, str(error)) from None


def damaged(path: Path, what: str) -> DatasetError:
    """Return the error that a file of a dataset is damaged; `what` says how."""
    return DatasetError(f"{path} is damaged: {what}; restore it from a copy")


def check_version(value: dict[str, Any], path: Path) -> None:
    """Check that a manifest or settings file is one of layerwise, of the format version that this layerwise reads.

    Raises:
        ForeignFormatError: when it is of another program, or of another version.
        DatasetError: an invalid version.
    """
    if value.get("format") != FORMAT:
        raise ForeignFormatError(
            f"{path} isn't of a layerwise dataset: its format is {value.get('format')!r:.60}; give a dataset"
        )
    version = value.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise damaged(path, f"its version is {version!r:.60}")
    if version < VERSION:
        what = f"{path} has format version {version}, of an older layerwise, and this one reads {VERSION}"
        # The same command with the same folder would be refused again.
        root = path.parent.parent if path.name == "settings.json" else path.parent
        raise ForeignFormatError(
            f"{what}; remove {root}, or give another {argument('out')}, and extract again"
        )
    if version > VERSION:
        what = f"{path} has format version {version}, this layerwise reads {VERSION}"
        raise ForeignFormatError(f"{what}; update layerwise (pip install -U layerwise)")
