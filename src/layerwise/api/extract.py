"""extract: a corpus in, a dataset of all layers out; resumable, by one process or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise import choices
from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import choose
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.extraction.executors import start_executor
from layerwise.extraction.prepare import prepare, redaction_of
from layerwise.extraction.unknown import tell_unknown
from layerwise.heads.redactors import open_redactor
from layerwise.labels import likely
from layerwise.layers import LayerSpec
from layerwise.options import ExtractOptions
from layerwise.store import LayerDataset, open_dataset

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.read.redaction import Redactor


def extract(
    source: Any,
    out: str | Path,
    *,
    model: str | Path | Encoder = "minilm",
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
    precision: str = "fp32",
    layers: LayerSpec = "all",
    level: str = "text",
    pool: str | None = None,
    special_tokens: bool = True,
    long: str = "window",
    overlap: int | None = None,
    max_length: int | None = None,
    batch_tokens: int | None = None,
    prompt: str | None = None,
    prompt_name: str | None = None,
    word_split: str | None = None,
    context: Sequence[int] | str | int | None = None,
    pair_encoding: str = "separate",
    dtype: str = "float16",
    format: str = "auto",
    text: str | Sequence[str] | None = None,
    words: str | None = None,
    id: str | None = None,
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8",
    skip_bad: bool = False,
    limit: int | None = None,
    separator: str | None = None,
    na: Sequence[str] = (),
    sentence_id: str | None = None,
    join: str | None = None,
    classes: Sequence[str] | None = None,
    document: str | None = None,
    no_text: bool = False,
    keep: Sequence[str] = (),
    redact: str | Path | None = None,
    shard_texts: int | None = None,
    append: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> LayerDataset:
    """Write the chosen layers of every text of a corpus to a dataset.

    The same call again continues an interrupted one, and returns a finished dataset as it is.

    Args:
        source: files, globs, a folder (with `format="docs"`, or of `save_to_disk`), or `-` for stdin; or a data frame,
            an Arrow table, a `datasets.Dataset`, a list of records or of texts. Strings in a list are names where they
            name files, and texts where none of them does; paths (`pathlib.Path`) are always names.
        out: the folder of the dataset.
        model: a name for `load_encoder`, or an encoder.
        revision, device, allow_pickle, trust_remote_code, adapter, precision: see `load_encoder`.
        layers, level, pool, special_tokens, long, overlap, max_length, batch_tokens, prompt, prompt_name: see
            `Encoder.encode`.
        word_split: see `Encoder.encode`; for FASTA it is `chars`.
        context: the largest number of tokens of its neighbours in the same document that each text is encoded with: before
            it, or before and after it (`128`, `(64, 64)`, `"64,64"`). Only its own tokens are rows. The text comes first: it
            gets the context that the window leaves room for.
        pair_encoding: for two columns in `text`: `separate`, each text alone in a row of its own, or `joint`, both
            together, as the tokenizer joins pairs.
        dtype: the stored type: `float16`, `float32`, `bfloat16` or `int8`.
        format, text, words, id, columns, encoding, skip_bad, limit: see `read.ReaderOptions`.
        separator, na, sentence_id, join, classes, document: see `read.ReaderOptions`.
        no_text: store no texts, words, token numbers or carried columns of strings.
        keep: with `no_text`, carried columns to store anyway.
        redact: replace personal data by its kind, such as `[PERSON]`, before the model sees it (see "Privacy" in the
            documentation); what finds it: `presidio`, a file of spans, a head for tags, or a token-classification model.
            Other columns stay as they are.
        shard_texts: texts per shard.
        append: add new shards to a finished dataset: the rest of a source that has grown, or all of another
            source. The dataset stays unchanged until they are complete. Prompt and context are those of the dataset.
        workers: number of processes that share the work and the cores (or the GPUs); the bytes are the same.
        cluster: `ray`, for workers on the machines of a Ray cluster, which must all see `source` and `out`.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with, all workers together; by default that of the usual
            environment variables, else the number of cores that this process may use.

    Returns:
        the dataset, opened.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    options = ExtractOptions(
        model=model,
        revision=revision,
        device=device,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
        adapter=adapter,
        precision=precision,
        layers=layers,
        level=level,
        pool=pool,
        special_tokens=special_tokens,
        long=long,
        overlap=overlap,
        max_length=max_length,
        batch_tokens=batch_tokens,
        prompt=prompt,
        prompt_name=prompt_name,
        word_split=word_split,
        context=context,
        pair_encoding=pair_encoding,
        dtype=dtype,
        format=format,
        text=text,
        words=words,
        id=id,
        columns=columns,
        encoding=encoding,
        skip_bad=skip_bad,
        limit=limit,
        separator=separator,
        na=na,
        sentence_id=sentence_id,
        join=join,
        classes=classes,
        document=document,
        no_text=no_text,
        keep=keep,
        redact=redact,
        shard_texts=shard_texts,
    )
    if workers is not None:
        choices.whole_number("workers", workers, 1)
    if cluster is not None:
        choices.one_of("cluster", cluster, ("ray",))
    choose(threads)
    together = cluster is not None or (workers or 1) > 1
    redactor = _redactor(options, out, append=append)
    job = prepare(source, out, options, redactor=redactor, together=together, append=append)
    with (
        tracking(progress) as track,
        start_executor(job.recipe, workers, cluster, threads, track) as executor,
    ):
        job.run(executor, track, append=append)
    dataset = open_dataset(out)
    if not job.told_unknown:
        tell_unknown(dataset.manifest)
    return dataset


def extract_share(
    source: Any,
    out: str | Path,
    share: tuple[int, int],
    options: ExtractOptions,
    *,
    progress: Callback | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Write the shards of worker `share[0]` of `share[1]`; `finish` completes the dataset once all are done.

    Workers are independent and may run at different times. Each reads the whole source to find where its shards
    begin.

    Args:
        source, out: as in `extract`.
        share: (index, number of workers).
        options: the other options of `extract`.
        progress, threads: as in `extract`.

    Returns:
        `shards` and `texts`: the numbers of this worker's share; `of_shards` and `of_texts`: those of all.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    index, count = share
    choices.whole_number("num_workers", count, 1)
    if not 0 <= index < count:
        raise RequestError(
            f"{argument('worker_index', index)} doesn't fit {argument('num_workers', count)}; it must be 0 to {count - 1}"
        )
    choose(threads)
    job = prepare(source, out, options, redactor=_redactor(options, out, append=False))
    with tracking(progress) as track, start_executor(job.recipe, None, None, threads, track) as executor:
        return job.run_share(executor, track, share)


def likely_label(dataset: LayerDataset) -> tuple[str, str] | None:
    """Return the task and the name of the column that looks like one of labels; `None` without one."""
    columns = dataset.manifest.columns
    return likely.likely_label(dataset, columns.text, columns.word)


def _redactor(options: ExtractOptions, out: str | Path, *, append: bool) -> Redactor | None:
    how = redaction_of(options, out, append=append)
    return None if how is None else open_redactor(how)
