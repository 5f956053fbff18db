"""Makes ink of results: figures, and the files of the page; computes nothing."""

from layerwise.figures import plots

__all__ = ["plots"]
