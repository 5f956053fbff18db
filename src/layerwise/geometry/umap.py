"""UMAP, by umap-learn: the only module that imports it."""

import numpy as np

from layerwise._util.silence import silenced
from layerwise.arguments import argument
from layerwise.array_types import F64
from layerwise.errors import RequestError
from layerwise.geometry.compiled import check_settings
from layerwise.geometry.projection import Reducer


def umap(seed: int) -> Reducer:
    """Return a function that projects standardised rows by UMAP (McInnes et al. 2018), 15 neighbours by cosine.

    Each layer starts from the coordinates of the layer before, so that layers can be compared.

    Raises:
        RequestError: umap-learn isn't installed, or numba has a settings file in the current folder.
    """
    check_settings(argument("umap"))
    try:
        with silenced():  # it warns when tensorflow is missing, which isn't needed here
            from umap import UMAP
    except ImportError:
        raise RequestError(
            f"{argument('umap')} needs umap-learn, which isn't installed; pip install 'layerwise[umap]'"
        ) from None

    def flat(rows: F64, before: F64 | None) -> F64:
        """Return rows (n, d) on a plane, (n, 2), starting from their coordinates in the layer before, if any."""
        if len(rows) < 4:
            raise RequestError(
                f"{argument('umap')} needs 4 rows or more and got {len(rows)}; leave it out for PCA"
            )
        start = "pca" if before is None else (10 * before).astype(np.float32)
        with silenced():  # a warning that a seed means one thread
            reducer = UMAP(
                n_neighbors=min(15, len(rows) - 1), metric="cosine", init=start, random_state=seed, n_jobs=1
            )
            return np.asarray(reducer.fit_transform(rows.astype(np.float32)), np.float64)

    return flat
