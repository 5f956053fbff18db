"""predict: a head applied to a source of texts, as lines of a format."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from layerwise._util.progress import Callback
from layerwise.heads.formats import check_format, lines
from layerwise.heads.inputs import open_source
from layerwise.heads.predict import load_head, predict_source
from layerwise.read import Corpus


def predict(
    head: str | Path,
    source: Any,
    *,
    to: str = "jsonl",
    model: str | Path | None = None,
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    batch_tokens: int | None = None,
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
    progress: Callback | None = None,
    threads: int | None = None,
) -> tuple[Iterator[str], Corpus]:
    """Return the predictions of a head for a source, as lines in the order of its texts, and the opened source.

    Lines are computed while they are read, in bounded memory.

    Args:
        head: the folder of a head.
        source: see `lw.extract`.
        to: `jsonl`, `csv` or `conll`.
        model, revision, device, allow_pickle, trust_remote_code: see `load_head`.
        batch_tokens: see `Encoder.request`.
        format, text, words, id, columns, encoding, skip_bad, limit: see `read.ReaderOptions`.
        separator, na, sentence_id, join, classes: see `read.ReaderOptions`.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    opened = load_head(
        head,
        model=model,
        revision=revision,
        device=device,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )
    check_format(opened, to)
    corpus = open_source(
        opened.pairs,
        source,
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
    )
    answers = predict_source(opened, corpus, batch_tokens=batch_tokens, progress=progress, threads=threads)
    return lines(opened, to, answers), corpus
