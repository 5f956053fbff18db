"""Read files of texts in seven formats, one example at a time; uses no tensors."""

from layerwise.example import Example, clean, digest
from layerwise.read.corpus import Corpus, open_corpus
from layerwise.read.record import Skipped

__all__ = ["Corpus", "Example", "Skipped", "clean", "digest", "open_corpus"]
