"""Figures of results, as `matplotlib.figure.Figure`: vector graphics, colours that colour-blind people distinguish.

>>> import layerwise as lw
>>> figure = lw.plots.layer_curve(lw.probe("reviews.lw", task="classify", label="label"))  # doctest: +SKIP
>>> lw.plots.save(figure, "probe")  # doctest: +SKIP
(PosixPath('probe.svg'), PosixPath('probe.png'))

A result is what `lw.probe` or `lw.analyze` returns, the folder or the JSON file that they wrote, or the content of that
file. `width` is that of the figure in inches: 3.3 is that of a column, where labels are arranged otherwise, and text has
the same size. Nothing is displayed and no global setting changes; matplotlib is imported when the first figure is drawn.
"""

from layerwise.figures.canvas import save
from layerwise.figures.curve import layer_curve
from layerwise.figures.directions import directions
from layerwise.figures.geometry import geometry
from layerwise.figures.heatmap import heatmap
from layerwise.figures.projection import projection
from layerwise.figures.weights import weights

__all__ = ["directions", "geometry", "heatmap", "layer_curve", "projection", "save", "weights"]
