"""Choose measures by name, or by words of their names; a name that isn't available is refused with what it needs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.geometry import block_influence, depth, leakage
from layerwise.geometry.jobs import Jobs
from layerwise.geometry.retrieval.variants import VARIANTS
from layerwise.geometry.similarity import MEASURES


def choose(jobs: Jobs, names: Sequence[str] | None) -> Jobs:
    """Return the jobs with some names, in the order of `jobs`; all of them without names.

    A name is that of a measure, or words of it: `retrieval` stands for all measures of retrieval, `CKA` for all of CKA,
    and `effective rank` for `effective_rank`.

    Raises:
        RequestError: a name that no measure has, or of a measure that needs another argument or other rows.
    """
    if names is None:
        return jobs
    chosen: set[str] = set()
    for name in [names] if isinstance(names, str) else names:
        chosen |= set(_named(jobs, name))
    return {name: job for name, job in jobs.items() if name in chosen}


def _named(jobs: Jobs, name: str) -> list[str]:
    """Return the measures that a name stands for."""
    if name in jobs:
        return [name]
    words = "_".join(re.findall(r"[^\s_-]+", name.lower()))
    available = _matching(jobs, words)
    if available:
        return available
    needs = {measure: need for measure, need in _needs().items() if measure not in jobs}
    lacking = _matching(needs, words)
    if lacking:
        need = needs[lacking[0]]
        remedy = "extract such rows" if need.startswith("rows") else "add that"
        raise RequestError(
            f"{argument('measure', name)} isn't available for this dataset: it needs {need}; {remedy}, or "
            f"choose from {', '.join(_closest(words, list(jobs)))}"
        )
    listed = [
        f"{measure} (needs {needs[measure]})" if measure in needs else measure
        for measure in _closest(words, [*jobs, *needs])
    ]
    raise RequestError(
        f"{argument('measure', name)} doesn't exist; choose from these, the closest first: {', '.join(listed)}"
    )


def _matching(measures: Iterable[str], name: str) -> list[str]:
    """Return the measure of this name, else those whose names contain its words, such as `retrieval`, in a row."""
    all_names = list(measures)
    with_words = [other for other in all_names if name and f"_{name}_" in f"_{other}_"]
    return [name] if name in all_names else with_words


def _needs() -> Mapping[str, str]:
    """Return what measures need that aren't available for every dataset, by name."""
    return {
        **depth.needs(),
        **block_influence.needs(),
        **dict.fromkeys((f"against_{measure.name}" for measure in MEASURES), argument("against")),
        **leakage.needs(),
        **dict.fromkeys((f"retrieval_{name}" for name in VARIANTS), argument("pairs")),
        "language_probe": argument("pairs"),
    }


def _closest(name: str, measures: Sequence[str]) -> list[str]:
    """Return names in the order of their likeness to `name`: by words in common, then by letters."""
    words = set(name.split("_"))

    def likeness(other: str) -> tuple[int, float]:
        return len(words & set(other.split("_"))), SequenceMatcher(None, name, other).ratio()

    return sorted(measures, key=likeness, reverse=True)
