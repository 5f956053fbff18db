"""predict: heads applied to a source of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from layerwise._util.progress import Callback
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.heads.formats import check_format, lines
from layerwise.heads.inputs import open_source
from layerwise.heads.predict import Head, Prediction, load_head, predict_source
from layerwise.heads.predictions import Predictions
from layerwise.heads.together import HeadGroup
from layerwise.options import LoadOptions, PredictOptions, ReadOptions, part
from layerwise.read import Corpus
from layerwise.store import LayerDataset


def predict(
    head: str | Path | Head,
    source: Any,
    *,
    heads: Sequence[str | Path | Head] = (),
    keep: Sequence[str] = (),
    model: str | Path | None = None,
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
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
    document: str | None = None,
    context: Sequence[int] | str | int | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Predictions:
    """Return the predictions of heads for a source, in the order of its texts.

    All of them are in memory; the command `layerwise predict` writes each as soon as it is computed.

    Args:
        head: a head, or its folder.
        source: see `lw.extract`.
        heads: further heads of the same model, to apply in the same forward; the answers of each are then under its
            name, that of its folder without the ending.
        keep: columns of the source to return beside each answer.
        model, revision, device, allow_pickle, trust_remote_code, adapter: see `load_head`; for folders of heads.
        batch_tokens: see `Encoder.request`.
        format, text, words, id, columns, encoding, skip_bad, limit: see `read.ReaderOptions`.
        separator, na, sentence_id, join, classes, document: see `read.ReaderOptions`.
        context: 0 to encode each text by itself, though the head was trained on texts with the context of their documents.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    options = PredictOptions(
        heads=heads,
        keep=keep,
        model=model,
        revision=revision,
        device=device,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
        adapter=adapter,
        batch_tokens=batch_tokens,
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
        context=context,
    )
    group = _group(head, options)
    corpus, predictions = _predictions(group, source, options, progress=progress, threads=threads)
    answers = tuple(prediction.to_json() for prediction in predictions)
    return Predictions(answers, tuple(corpus.reading_notices), tuple(corpus.skipped))


def predict_lines(
    head: str | Path | Head,
    source: Any,
    options: PredictOptions,
    *,
    to: str = "jsonl",
    progress: Callback | None = None,
    threads: int | None = None,
) -> tuple[Iterator[str], Corpus]:
    """Return the predictions of heads for a source, as lines in the order of its texts, and the opened source.

    Lines are computed while they are read, in bounded memory.

    Args:
        head, source: as in `predict`.
        options: the other options of `predict`.
        to: `jsonl`, `csv` or `conll`.
        progress, threads: as in `predict`.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    group = _group(head, options)
    check_format(group.heads, to)
    corpus, predictions = _predictions(group, source, options, progress=progress, threads=threads)
    return lines(group.heads, to, predictions, has_ids=corpus.has_ids), corpus


def _group(head: str | Path | Head, options: PredictOptions) -> HeadGroup:
    loading = {"model": options.model, **part(options, LoadOptions)}
    if not isinstance(head, Head):
        return load_head(head, **loading).group(options.heads, options.context)
    useless = next((name for name, value in loading.items() if value), None)
    if useless is not None:
        raise RequestError(
            f"{argument(useless, loading[useless])} has no effect on a head that is loaded; give it to lw.load_head"
        )
    return head.group(options.heads, options.context)


def _predictions(
    group: HeadGroup, source: Any, options: PredictOptions, **running: Any
) -> tuple[Corpus, Iterator[Prediction]]:
    if isinstance(source, LayerDataset):
        raise RequestError(
            f"{source.path} is a dataset, which holds vectors; give the source of its texts, or use head.predict_rows(dataset)"
        )
    corpus = open_source(group.texts, source, **part(options, ReadOptions))
    predictions = predict_source(
        group, corpus, keep=options.keep, batch_tokens=options.batch_tokens, **running
    )
    return corpus, predictions
