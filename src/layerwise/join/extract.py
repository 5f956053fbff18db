"""extract: a corpus in, a dataset of all layers out; resumable."""

from __future__ import annotations

import codecs
import itertools
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from layerwise import names
from layerwise.errors import DatasetError, RequestError
from layerwise.join.opened import open_described
from layerwise.layers import LayerSpec
from layerwise.progress import Progress
from layerwise.read import open_corpus
from layerwise.read.carry import PART
from layerwise.read.corpus import Corpus
from layerwise.read.example import Example, digest
from layerwise.read.shards import CHARACTERS, TEXTS, shards
from layerwise.store import DatasetWriter, LayerDataset
from layerwise.store.layout import Folder
from layerwise.store.tables import read_table
from layerwise.tables import Carried, carried_columns
from layerwise.tolerance import tolerance

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.request import Request


@dataclass(frozen=True)
class ShardRule:
    """A shard closes after `texts` texts or `characters` characters."""

    texts: int
    characters: int


def extract(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path | Encoder = "minilm",
    layers: LayerSpec = "all",
    level: str = "text",
    pool: str | None = None,
    precision: str = "fp32",
    dtype: str = "float16",
    long: str = "window",
    overlap: int | None = None,
    max_length: int | None = None,
    batch_tokens: int | None = None,
    device: str | None = None,
    special_tokens: bool = True,
    format: str = "auto",
    text: str | Sequence[str] | None = None,
    words: str | None = None,
    id: str | None = None,
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8",
    no_text: bool = False,
    keep: Sequence[str] = (),
    skip_bad: bool = False,
    limit: int | None = None,
    shard_texts: int | None = None,
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> LayerDataset:
    """Write every wanted layer of every text of a corpus to the dataset `out`.

    The same call again goes on where an interrupted one stopped, and does nothing when it is done.

    Args:
        source: files, globs, a folder (with `format="docs"`), or `-` for stdin.
        out: the folder of the dataset.
        model: a name for `load_encoder`, or an encoder.
        layers, level, pool, special_tokens, long, overlap, max_length, batch_tokens: see `Encoder.request`.
        precision, device, revision, allow_pickle, trust_remote_code: see `load_encoder`.
        dtype: the type at rest: `float16`, `float32`, `bfloat16`, `int8`.
        format, text, words, id, columns, encoding, skip_bad, limit: see `read.open_corpus`.
        no_text, keep: leave out texts and carried columns of strings, but for those in `keep`.
        shard_texts: texts per shard.

    Returns:
        the dataset, opened.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    names.one_of("level", level, ("token", "word", "text"))
    names.fit_pool(level, pool)
    names.one_of("dtype", dtype, names.DTYPES)
    corpus = open_corpus(
        source,
        format=format,
        text=text,
        words=words,
        id=id,
        columns=columns,
        encoding=encoding,
        skip_bad=skip_bad,
        limit=limit,
    )
    rule = ShardRule(shard_texts if shard_texts is not None else TEXTS, CHARACTERS[level])
    stream = shards(corpus.records(), rule.texts, rule.characters)
    first = next(stream)
    _check_keep(keep, no_text, first)
    stream = itertools.chain([first], stream)
    encoder = _encoder(model, device, precision, revision, allow_pickle, trust_remote_code)
    request = encoder.request(
        layers,
        level,
        pool,
        special_tokens=special_tokens,
        long=long,
        max_length=max_length,
        overlap=overlap,
        batch_tokens=batch_tokens,
    )
    reading = {
        "format": corpus.format,
        "text": corpus.text,
        "words": words,
        "id": id,
        "columns": columns,
        "encoding": codecs.lookup(encoding).name,
    }
    settings = _settings(encoder, request, dtype, rule, reading, no_text, keep)
    # Without its part a text of a pair couldn't be told from the other, and it says nothing of them.
    carried = Carried(corpus.types, no_text, (*keep, PART) if corpus.paired else tuple(keep))
    with DatasetWriter(Path(out), settings) as writer:
        _Job(Path(out), encoder, request, writer, corpus, carried, dtype).run(
            stream, progress or Progress(quiet=True)
        )
        if not writer.finished:
            writer.finish(_manifest(encoder, request, dtype, corpus, writer.committed))
    return open_described(out)


class _Job:
    """One run over the source: what is committed is compared, what is missing is written."""

    def __init__(
        self,
        out: Path,
        encoder: Encoder,
        request: Request,
        writer: DatasetWriter,
        corpus: Corpus,
        carried: Carried,
        dtype: str,
    ) -> None:
        self._out = out
        self._encoder, self._request, self._dtype = encoder, request, dtype
        self._writer, self._corpus, self._carried = writer, corpus, carried

    def run(self, stream: Iterator[list[Example]], progress: Progress) -> None:
        """Write the shards that aren't committed, after making sure that the others are those of this source."""
        first_doc = shard = 0
        read = 0.0
        for shard, examples in enumerate(stream, 1):
            if not self._stands(shard - 1, examples):
                if self._writer.finished:
                    raise _grown(examples[0])
                self._write(examples, first_doc, progress, read)
            first_doc += len(examples)
            read = self._corpus.fraction or 0.0
        if shard < len(self._writer.committed):
            held = sum(record["texts"] for record in self._writer.committed)
            raise DatasetError(
                f"the source gives {first_doc} texts now and {held} are in the dataset; use another --out"
            )

    def _stands(self, shard: int, examples: list[Example]) -> bool:
        """Tell whether a shard is committed with these texts; a short last one of unfinished work is dropped."""
        if shard >= len(self._writer.committed):
            return False
        record = self._writer.committed[shard]
        texts = record["texts"]
        if texts > len(examples) or digest(examples[:texts]) != record["input"]:
            raise DatasetError(
                f"{first_difference(self._stored(shard), examples)} isn't what it was when shard {shard} was "
                "written; put the source back as it was, or use another --out"
            )
        if texts == len(examples):
            return True
        if self._writer.finished or shard + 1 < len(self._writer.committed):
            raise _grown(examples[texts])
        self._writer.drop_last()
        return False

    def _stored(self, shard: int) -> pa.Table:
        return read_table(Folder(self._out).shard(shard, "texts"))

    def _write(self, examples: list[Example], first_doc: int, progress: Progress, before: float) -> None:
        start = time.perf_counter()
        shard = self._encoder.plan(examples, self._request, first_doc=first_doc, carried=self._carried)
        windows = len(shard.plan.whole)
        done = 0

        def tell(pieces: int, batch: int) -> None:
            nonlocal done
            texts = len(examples) * (done + batch) // windows - len(examples) * done // windows
            done += batch
            read = self._corpus.fraction
            share = None if read is None else before + (read - before) * done / windows
            progress.add(texts=texts, pieces=pieces, fraction=share)

        into = self._writer.begin(self._request.layers, shard.rows, self._encoder.width, self._dtype)
        self._encoder.run(shard, into, tell)
        record = {
            "input": digest(examples),
            "counts": shard.counts,
            "columns": carried_columns(examples),
            "seconds": round(time.perf_counter() - start, 3),
        }
        into.commit(shard.index, shard.texts, record)


def first_difference(stored: pa.Table, examples: Sequence[Example]) -> str:
    """Return the place of the first text that isn't the one that is stored."""
    for row, example in zip(stored.to_pylist(), examples, strict=False):
        given: dict[str, Any] = {
            "id": example.id,
            "source": example.source,
            "line": example.line,
            "text": example.text,
        }
        given |= example.columns
        given |= {name: list(values) for name, values in example.word_columns.items()}
        if any(name in row and row[name] != value for name, value in given.items()):
            return example.where
    if len(examples) < stored.num_rows:
        return f"the end of the source (after {examples[-1].where})"
    return f"a record from {examples[0].where} to {examples[min(len(examples), stored.num_rows) - 1].where}"


def _grown(example: Example) -> DatasetError:
    return DatasetError(
        f"the source has grown since the dataset was finished: {example.where} is new; use another --out for all of it"
    )


def _check_keep(keep: Sequence[str], no_text: bool, examples: Sequence[Example]) -> None:
    if keep and not no_text:
        raise RequestError(
            f"--keep {' '.join(keep)} goes with --no-text; leave it out, as everything is kept"
        )
    columns = carried_columns(examples)
    there = columns["text"] + columns["word"]
    for name in keep:
        if name not in there:
            raise RequestError(
                f"--keep {name}: no such column is carried; there are {', '.join(there) or 'none'}"
            )


def _encoder(
    model: str | Path | Encoder,
    device: str | None,
    precision: str,
    revision: str | None,
    allow_pickle: bool,
    trust_remote_code: bool,
) -> Encoder:
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.load import load_encoder

    if isinstance(model, Encoder):
        return model
    return load_encoder(
        model,
        device=device,
        precision=precision,
        revision=revision,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )


def _settings(
    encoder: Encoder,
    request: Request,
    dtype: str,
    rule: ShardRule,
    reading: Mapping[str, Any],
    no_text: bool,
    keep: Sequence[str],
) -> dict[str, Any]:
    """Return everything that can change a stored byte."""
    return {
        "model": encoder.hashes,
        **asdict(request),
        "layers": list(request.layers),
        "precision": encoder.precision,
        "dtype": dtype,
        "device": encoder.device.split(":")[0],
        "engine": encoder.engine,
        "shard": asdict(rule),
        "reading": {name: list(v) if isinstance(v, tuple) else v for name, v in reading.items()},
        "no_text": no_text,
        "keep": sorted(keep),
    }


def _manifest(
    encoder: Encoder, request: Request, dtype: str, corpus: Corpus, shards: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what a reader of the dataset wants to know beyond the settings."""
    from layerwise.versions import versions

    return {
        "model": encoder.description,
        "layers": list(request.layers),
        "blocks": encoder.blocks,
        "width": encoder.width,
        "level": request.level,
        "pool": request.pool,
        "dtype": dtype,
        "columns": {
            kind: list(dict.fromkeys(name for shard in shards for name in shard["columns"][kind]))
            for kind in ("text", "word")
        },
        "tolerance": tolerance(encoder.precision, dtype),
        "skipped": [asdict(record) for record in corpus.skipped],
        "notices": [*corpus.notices, *encoder.notes],
        "versions": versions(),
        "machine": {"processor": platform.machine(), "system": platform.system()},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
