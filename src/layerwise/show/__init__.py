"""What makes ink of results: tables and figures; computes nothing."""

from layerwise.show import plots

__all__ = ["plots"]
