"""evaluate: score a head against labels that it wasn't trained on."""

from collections.abc import Sequence
from pathlib import Path

from layerwise.heads.evaluate import check_labels
from layerwise.heads.inputs import describe_pairs
from layerwise.options import ReadOptions, part
from layerwise.store import open_dataset


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
    pairs = describe_pairs(open_dataset(dataset))
    for source in sources:
        check_labels(source, labels, pairs, **part(reading, ReadOptions))
