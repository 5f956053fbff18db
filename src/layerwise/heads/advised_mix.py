"""The mix that a probe advised, and notes on how the probe fits what is trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.labels.plan import TaskSpec
from layerwise.layers import short_mix
from layerwise.mixes import parse_mix
from layerwise.store import LayerDataset
from layerwise.store.result_provenance import fingerprint
from layerwise.store.stored_result import result_content


@dataclass(frozen=True, slots=True)
class MixAdvice:
    """The advice of a probe: the best mix, the cheapest that is nearly as good, and the content of `probe.json`."""

    mix: str
    cheapest: str
    probe: Mapping[str, Any]
    origin: str

    def mix_for(self, dataset: LayerDataset) -> str:
        """Return the mix that is advised.

        Raises:
            RequestError: the dataset can't be mixed in this way.
        """
        try:
            parse_mix(self.mix, dataset.blocks, dataset.layers, dataset.widths)
        except RequestError:
            raise RequestError(
                f"{self.origin} advised the mix {self.mix} and the dataset has the layers {', '.join(dataset.layers)}; extract "
                f"those of the mix too, or name another in {argument('mix')}"
            ) from None
        return self.mix

    def is_of(self, dataset: LayerDataset) -> bool:
        """Return whether the probe was made on exactly the rows of a dataset."""
        source = self.probe.get("dataset")
        return isinstance(source, Mapping) and source.get("sha256") == fingerprint(dataset)

    def notes(self, dataset: LayerDataset, specs: Sequence[TaskSpec]) -> Iterator[str]:
        """Yield which mix is used and why, and how the probe differs from what is trained."""
        why = "the best one"
        if self.mix != self.cheapest:
            why += f"; {argument('mix', short_mix(self.cheapest))} takes the cheapest within one standard error of it"
        yield f"the mix is {short_mix(self.mix)}, as {self.origin} advised ({why})"
        differences = [*_of_dataset(self.probe, dataset), *_of_tasks(self.probe, specs)]
        if differences:
            yield f"{self.origin} is {', and '.join(differences)}: its advice may not hold here"


def advised_mix(probe: Any) -> MixAdvice:
    """Return the advice of a probe.

    Args:
        probe: the result of `probe`, its content, or the folder or file that it was written to.

    Raises:
        RequestError: no probe, or one without advice.
    """
    content = result_content(probe, "mix_from", "probe")
    advice = content.get("advice")
    mixes = [advice.get(name) for name in ("best", "cheapest")] if isinstance(advice, Mapping) else []
    if len(mixes) != 2 or not all(isinstance(mix, str) and mix for mix in mixes):
        raise RequestError(
            f"{argument('mix_from')}: the probe has no advice with 'best' and 'cheapest'; make it again with `probe`"
        )
    origin = f"probe {probe}" if isinstance(probe, str | Path) else "the probe"
    return MixAdvice(str(mixes[0]), str(mixes[1]), content, origin)


def _of_dataset(probe: Mapping[str, Any], dataset: LayerDataset) -> Iterator[str]:
    """Yield how the rows of a probe differ from those of a dataset, as far as the probe says."""
    source = probe.get("dataset")
    source = source if isinstance(source, Mapping) else {}
    model = source.get("model")
    model = model if isinstance(model, Mapping) else {}
    dataset_model = dataset.manifest.model
    if model and any(
        model.get(part) != getattr(dataset_model, part) for part in ("weights", "tokenizer", "config")
    ):
        yield f"of another model ({model.get('id')!s:.60}, not {dataset_model.id})"
    elif source.get("sha256") != fingerprint(dataset):
        yield f"of another dataset ({source.get('path', 'rows in memory')!s:.80}, or one since changed)"
    if "level" in probe and (probe["level"], probe.get("pool")) != (dataset.level, dataset.pool):
        yield f"of level {probe['level']} with pool {probe.get('pool')}, not {dataset.level} with {dataset.pool}"
    if probe.get("centre") is not None:
        yield f"of rows centred by column {probe['centre']!r:.60}, and a head centres none"


def _of_tasks(probe: Mapping[str, Any], specs: Sequence[TaskSpec]) -> Iterator[str]:
    """Yield that the probe is of another task or label than one of `specs`."""
    expected = (probe.get("task"), probe.get("label"))
    for spec in specs:
        if (spec.task, spec.label) != expected:
            yield f"for {expected[0]} of {expected[1]}, not {spec.task} of {spec.label}"
