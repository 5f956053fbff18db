"""What the learned mix of a probe weighs, on the first outer fit: its weights, and what each layer adds."""

import numpy as np

from layerwise.learn.features import read_planes, standardise
from layerwise.learn.fitted import LoopOptions, LoopTask
from layerwise.learn.learned import LearnedMix
from layerwise.learn.mixview import show_some
from layerwise.look.candidates import Candidate
from layerwise.look.design import Design
from layerwise.look.material import Material
from layerwise.mix import layer_stats
from layerwise.states import Layered


def weighed(
    dataset: Layered,
    material: Material,
    design: Design,
    one: Candidate,
    strength: float,
    *,
    draws: int,
    seed: int,
) -> LearnedMix | None:
    """Return what there is to show of a learned mix, fitted on the training rows of the first outer fit.

    Args:
        dataset: where the rows are; all layers of the mix are in memory at once.
        material: the rows and their targets.
        design: who trains, and which rows score what a layer adds.
        one: the learned mix.
        strength: C, as the inner fits of that outer fit chose it.
        draws: how many refits on resampled groups make the intervals.
        seed: of the draws.

    Returns:
        the evidence, or `None` for a mix of a single layer.
    """
    if len(one.mix.layers) < 2:
        return None
    outer = design.outers[0]
    train = design.fits.train[outer.fit]
    held = np.zeros_like(train)
    held[outer.test] = True
    (planes,) = read_planes(dataset, material.labelled.rows, [one.mix], [train])
    x = standardise(planes.arrays, [layer_stats([values[train]]) for values in planes.arrays])
    numbers = design.fits.count == 1
    task = LoopTask(
        one.name,
        "regress" if numbers else "classify",
        x,
        np.asarray(material.targets, np.float32 if numbers else np.int64),
        design.fits.count,
        train | held,
        learned=True,
    )
    options = LoopOptions(seed=seed, l2=1 / (strength * int(train.sum())))
    # The held-out rows score, so they may not say when to stop: the head is fitted to its optimum.
    return show_some(one.mix.layers, task, held, material.groups, options, draws=draws)
