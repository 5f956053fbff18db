"""Rows on disk: written once, shard by shard, and read one layer at a time."""

from layerwise.store.export import export
from layerwise.store.reader import LayerDataset, open_dataset
from layerwise.store.shard import ShardWriter
from layerwise.store.verify import Problem, check_files
from layerwise.store.writer import DatasetWriter

__all__ = ["DatasetWriter", "LayerDataset", "Problem", "ShardWriter", "check_files", "export", "open_dataset"]
