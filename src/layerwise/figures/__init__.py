"""Draw results: figures, and the files of the page; this package computes no results."""

from layerwise.figures import plots

__all__ = ["plots"]
