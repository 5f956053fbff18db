"""Arrow files and streams, Feather, and the folders that `datasets` writes with `save_to_disk`; read batch by batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerwise import _util
from layerwise._util.paths import faults, is_remote
from layerwise.arguments import argument
from layerwise.errors import LayerwiseError, SourceError
from layerwise.read.arrow_rows import BATCH_ROWS, TypedReader, records_of
from layerwise.read.class_names import names_in_schema, names_of
from layerwise.read.compressed import refuse_other
from layerwise.read.file import File
from layerwise.read.record import Record, Skipped, quoted
from layerwise.read.saved import saved_features

_FILE, _FEATHER_1 = b"ARROW1", b"FEA1"


class ArrowReader(TypedReader):
    """One record per row."""

    def check(self, file: File) -> None:
        """Check the schema."""
        with _open_arrow(file) as source:
            self.agree_schema(file, source.schema)

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per row."""
        with _open_arrow(file) as source:
            self.agree(file, self.columns_of(file, source.schema))
            start = 0
            for batch in source.batches():
                batch.validate(full=True)  # offsets that point elsewhere would read other memory
                for first in range(0, batch.num_rows, BATCH_ROWS):
                    yield from records_of(file, batch.slice(first, BATCH_ROWS), start + first)
                start += batch.num_rows
                file.done = source.position
            file.done = file.size

    def class_names(self, file: File, schema: Any) -> dict[str, tuple[str, ...]]:
        """Return the names in the schema; of a folder of `save_to_disk` those beside the file."""
        names = names_in_schema(schema)
        if names or file.format != "hf" or file.path is None:
            return names
        return names_of(saved_features(file.path.parent))


class _IpcStream:
    """A file that holds a stream; one reader checks each message before the other decompresses it."""

    def __init__(self, first: Any, second: Any) -> None:
        import pyarrow as pa

        self._first = first
        self._messages = pa.ipc.MessageReader.open_stream(first)
        self._reader = pa.ipc.open_stream(second)
        self.schema = self._reader.schema

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return int(self._first.tell())

    def batches(self) -> Iterator[Any]:
        """Yield the batches.

        Raises:
            ValueError: one that becomes too large.
        """
        for message in self._messages:
            _util.arrow_size.check_message(message)
            if message.type == "record batch":
                yield self._reader.read_next_batch()


class _IpcFile:
    """A file with a footer, which names the places of batches; each is checked before it is decompressed."""

    def __init__(self, first: Any, second: Any) -> None:
        import pyarrow as pa

        self._first = first
        self._dictionaries, self._blocks = _util.arrow_size.blocks(first)
        self._reader = pa.ipc.open_file(second)
        self.schema = self._reader.schema
        self.position = 0

    def batches(self) -> Iterator[Any]:
        """Yield the batches; errors as `_IpcStream.batches`."""
        for block in self._dictionaries:
            _util.arrow_size.check_block(self._first, block)
        for number, block in enumerate(self._blocks):
            _util.arrow_size.check_block(self._first, block)
            yield self._reader.get_batch(number)
            self.position += sum(block[1:])


@contextmanager
def _open_arrow(file: File) -> Iterator[Any]:
    import pyarrow as pa

    path = file.path or Path(file.source)
    try:
        if file.once:
            raise OSError("it is no regular file, and is read twice")
        with path.open("rb") as raw:
            refuse_other(raw, file.label, "Arrow")
            start = raw.read(8)
        if start.startswith(_FEATHER_1):
            raise OSError("it is Feather of version 1, which is no longer written; write version 2")
        with _opened(path) as first, _opened(path) as second:
            yield (_IpcFile if start.startswith(_FILE) else _IpcStream)(first, second)
    except LayerwiseError:  # some are ValueErrors too
        raise
    except (pa.ArrowException, ValueError, *faults()) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(
            f"{file.label} can't be read as Arrow: {quoted(why)}; write it again, or name another {argument('format')}"
        ) from error


def _opened(path: Path) -> Any:
    import pyarrow as pa

    return pa.PythonFile(path.open("rb"), mode="r") if is_remote(path) else pa.memory_map(str(path))
