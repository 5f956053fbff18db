"""Texts: files in seven formats, read one example at a time; knows no tensor."""

from layerwise.example import Example, clean, digest
from layerwise.read.corpus import Corpus, open_corpus
from layerwise.read.record import Skipped

__all__ = ["Corpus", "Example", "Skipped", "clean", "digest", "open_corpus"]
