"""`probing.probe.probe` with its options as keyword arguments."""

from collections.abc import Sequence
from typing import Any

from layerwise.options import ProbeOptions
from layerwise.probing import probe as probing
from layerwise.probing.results import ProbeResult
from layerwise.states import Layered


def probe(
    dataset: Layered,
    task: str,
    label: str,
    *,
    mixes: Sequence[str] | None = None,
    random_models: Sequence[Any] = (),
    **options: Any,
) -> ProbeResult:
    """Score every layer and the mixes; `track` is handed on as well."""
    track = {"track": options.pop("track")} if "track" in options else {}
    return probing.probe(
        dataset, task, label, ProbeOptions(mix=mixes, **options), random_models=random_models, **track
    )
