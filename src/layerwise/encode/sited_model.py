"""A copy of a model whose hooks also deliver the sites of its blocks; it shares the weights of the model.

The hooks of sites are on a copy, so that forwards without sites are as fast as before, and threads that run the model
meanwhile aren't disturbed. The copy is made when a site is first asked for.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from layerwise.array_types import I64
from layerwise.encode import model_state
from layerwise.encode.batches import Sequences
from layerwise.encode.hf import modules
from layerwise.encode.sites import ModelSites, find_sites
from layerwise.encode.taps import Tap, Taps
from layerwise.encode.thread_invariance import make_thread_invariant


class SitedModel:
    """A model with sites.

    Attributes:
        model: the copy; None if it has no sites.
        taps: its hooks.
        sites: the sites, and why blocks have none.
        widths: the number of dimensions of each site, by its name.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: Sequence[Tap] | None,
        text: Sequences,
        run: Callable[[nn.Module, Sequences], Any],
    ) -> None:
        """Find the sites.

        Args:
            model: the model; no other thread may change it meanwhile.
            taps: where its layers come from.
            text: a text of several tokens.
            run: runs a model on one text.
        """
        copied = modules.shared_copy(model)
        if next(model.parameters()).device.type == "cpu":
            make_thread_invariant(copied)
        taps = None if taps is None else _moved(taps, model, copied)

        def run_on(ids: I64) -> None:
            types = None if text.types is None else [text.types[0][: len(ids)]]
            restore = model_state.snapshot(copied)
            try:
                run(copied, Sequences([ids], types))
            finally:
                restore()

        self.sites: ModelSites = find_sites(copied, taps, run_on, text.ids[0])
        self.model = copied
        self.taps = Taps(taps or [], copied, self.sites.taps) if self.sites.taps else None
        self.widths = {name: tap.width for name, tap in self.sites.taps.items()}


def _moved(taps: Sequence[Tap], model: nn.Module, copied: nn.Module) -> list[Tap]:
    """Return the same taps on the copy of a model."""
    paths = {module: path for path, module in model.named_modules()}
    return [Tap(copied.get_submodule(paths[tap.module]), tap.call, tap.of_input) for tap in taps]
