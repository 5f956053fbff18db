"""evaluate: a head against labels that it hasn't seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerwise.heads.evaluate import check_labels
from layerwise.heads.row_spec import describe_pairs
from layerwise.store import open_dataset


def check_sources(
    dataset: str | Path, sources: Sequence[str], labels: Sequence[tuple[str, str]], **reading: Any
) -> None:
    """Make sure that a head of a dataset can be scored on sources, before anything takes long.

    Args:
        dataset: what the head will be trained on.
        sources: texts or datasets with labels.
        labels: name and column of each task.
        **reading: options of `open_corpus`.

    Raises:
        LayerwiseError: a source that can't be read, or lacks a column.
    """
    pairs = describe_pairs(open_dataset(dataset))
    for source in sources:
        check_labels(source, labels, pairs, **reading)
