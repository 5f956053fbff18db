"""The choice of C: what an outer fit takes over from inner fits."""

import numpy as np

from layerwise.labels.scorers import ClassScorer
from layerwise.probing.choice import ChoiceOfC
from layerwise.probing.design import DesignBuilder, crossed


def test_an_outer_fit_starts_at_its_own_inner_fits_at_the_best_c() -> None:
    # Inner fits of other outer fits train on the rows that this one is tested on.
    labels = np.arange(60) % 2
    design = crossed(DesignBuilder(np.arange(60), labels, 2, spread=True), 2, 5, 0, [])
    choice = ChoiceOfC(design, ClassScorer(labels), 3)
    right = np.stack([labels == 0, labels == 1]).astype(np.float32)
    for c_index in (0, 1, 2):
        for fit in choice.fits:
            # The second C is right, and the last as right as it.
            values = right if c_index else right[::-1]
            choice.add(fit, c_index, values, np.array([fit, c_index], np.float32))
    for number, outer in enumerate(design.outers):
        expected = [np.mean([fit for fit, _ in outer.inner]), 1]
        np.testing.assert_allclose(choice.start(number), expected, err_msg=f"outer fit {number}")
        assert not any(design.fits.train[fit][outer.test].any() for fit, _ in outer.inner)
