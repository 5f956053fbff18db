"""evaluate: score a head on labels that it wasn't trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerwise._util.progress import Callback
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.heads.evaluate import check_labels, dataset_of
from layerwise.heads.evaluate import evaluate as evaluate_head
from layerwise.heads.evaluation import Evaluation
from layerwise.heads.inputs import describe_texts
from layerwise.heads.predict import Head, load_head
from layerwise.options import ReadOptions, part
from layerwise.store import open_dataset


def evaluate(
    head: Head | str | Path,
    source: Any,
    *,
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
) -> Evaluation:
    """Return the scores of a head on labelled texts or on a labelled dataset, with 95% intervals.

    The labels are read from the columns that the head was trained on. A dataset made by the same model, with the same
    kind of rows, is scored without running the model.

    Args:
        head: a head, or its folder.
        source: texts with labels (see `lw.extract`), or a dataset, or its folder.
        model, revision, device, allow_pickle, trust_remote_code, adapter: see `load_head`; for the folder of a head.
        batch_tokens: see `Encoder.request`; for texts.
        format, text, words, id, columns, encoding, skip_bad, limit: see `read.ReaderOptions`; for texts.
        separator, na, sentence_id, join, classes, document: see `read.ReaderOptions`; for texts.
        context: 0 to encode each text by itself, though the head was trained on texts with the context of their documents.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    loading: dict[str, Any] = {
        "model": model,
        "revision": revision,
        "device": device,
        "allow_pickle": allow_pickle,
        "trust_remote_code": trust_remote_code,
        "adapter": adapter,
    }
    opened = open_head(head, loading)
    return evaluate_head(
        opened,
        source,
        lambda: opened.encoder,
        batch_tokens=batch_tokens,
        progress=progress,
        threads=threads,
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


def open_head(head: Head | str | Path, loading: Mapping[str, Any]) -> Head:
    """Return an open head, or open its folder; `loading` are the options of `load_head`.

    Raises:
        RequestError: options for a head that is open already.
        HeadError: no head, or a damaged one.
    """
    if not isinstance(head, Head):
        return load_head(head, **loading)
    for name, value in loading.items():
        if value:
            raise RequestError(
                f"{argument(name, value)} says how the model of a head's folder is loaded, and this head is open already; "
                f"give it to load_head"
            )
    return head


def reading_options(source: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options that say how texts are read; none for a dataset, whose rows are read as they are."""
    return {} if dataset_of(source) is not None else options


def check_sources(
    dataset: str | Path, sources: Sequence[str], labels: Sequence[tuple[str, str]], reading: ReadOptions
) -> None:
    """Check that a head of a dataset can be scored on sources, before any long computation.

    Args:
        dataset: the folder of the dataset that the head will be trained on.
        sources: texts or datasets with labels.
        labels: name and column of each task.
        reading: how texts are read.

    Raises:
        LayerwiseError: a source that can't be read, or lacks a column.
    """
    texts = describe_texts(open_dataset(dataset))
    for source in sources:
        check_labels(source, labels, texts, **part(reading, ReadOptions))


def check_not_private(dataset: str | Path, sources: Sequence[str]) -> None:
    """Check that a private head isn't scored on the rows that it is trained on.

    Args:
        dataset: the folder of the private dataset.
        sources: texts or datasets with labels.

    Raises:
        RequestError: a source is the dataset, or a file that its texts were read from.
    """
    entries = open_dataset(dataset).manifest.sources
    texts = {Path(name).resolve() for entry in entries for name in entry.files}
    for source in sources:
        is_dataset = Path(source).resolve() == Path(dataset).resolve()
        if is_dataset or Path(source).resolve() in texts:
            relation = "is the private dataset" if is_dataset else "holds texts of the private dataset"
            raise RequestError(
                f"{argument('eval', source)} {relation}, and a score on it would have to be charged to ε; give other texts"
            )
