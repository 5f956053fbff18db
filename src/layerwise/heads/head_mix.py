"""The mix of a trained head, as an embedding: the vectors that its classifier sees."""

from __future__ import annotations

from dataclasses import dataclass

from layerwise.arguments import argument
from layerwise.array_types import F32
from layerwise.columns import is_paired
from layerwise.errors import HeadError, RequestError
from layerwise.heads.head import HeadData, TaskHead
from layerwise.heads.inputs import check_dataset, check_paired
from layerwise.heads.mixing import Read, input_width
from layerwise.states import Layered, LayerStates
from layerwise.store import LayerDataset


@dataclass(frozen=True, slots=True, eq=False)
class HeadMix:
    """The mixed vectors of one task of a head, standardised with the statistics of its training rows.

    Attributes:
        head: the head, with this task alone.
        hidden: whether the vectors are the output of the hidden layer.
    """

    head: HeadData
    hidden: bool

    @property
    def task(self) -> TaskHead:
        """The fitted head of the task."""
        return self.head.task_heads[0]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are mixed."""
        return self.task.mix.layers

    @property
    def mix_string(self) -> str:
        """The mix string of the task."""
        return str(self.task.mix)

    @property
    def rows_per_vector(self) -> int:
        """The number of rows that make one vector: 2 for pairs of texts."""
        return 1 if self.head.pairs is None else 2

    @property
    def width(self) -> int:
        """The number of dimensions of a vector."""
        hidden = self.task.fitted.hidden
        if self.hidden and hidden is not None:
            return len(hidden[1])
        return input_width(self.task.mix, self.head.widths, self.head.pairs is not None)

    def __call__(self, read: Read) -> F32:
        """Return the vectors of rows, float32 (rows / rows_per_vector, width).

        Args:
            read: returns one layer by its name, float32 (rows, width of the model).

        Raises:
            RequestError: numbers beyond float32.
        """
        return self.task.mixed(read, self.head.pairs is not None, self.hidden)

    def check(self, rows: Layered) -> None:
        """Check that rows are of the kind that the head was trained on, as far as they say.

        Raises:
            HeadError: rows of another model, level, pool or width.
            RequestError: pairs instead of single texts or the reverse, or layers that are missing.
        """
        if isinstance(rows, LayerDataset):
            check_dataset(self.head, rows)
        else:
            self._check_kind(rows)
            check_paired(self.head, is_paired(rows))
            self._check_layers(rows)

    def _check_kind(self, rows: Layered) -> None:
        if isinstance(rows, LayerStates) and rows.model is not None:
            self.head.check_model(rows.model.hashes, rows.model.name)
        kinds = {name: self.head.rows[name] for name in ("level", "pool", "words_pool")}
        kinds |= {name: self.head.model[name] for name in ("blocks", "width")}
        for name, expected in kinds.items():
            got = getattr(rows, name, None)
            if got != expected:
                raise HeadError(
                    f"the head was trained on rows of {name} {expected!r} and these have {got!r}; encode texts as for "
                    "the dataset that it was trained on"
                )

    def _check_layers(self, rows: Layered) -> None:
        missing = [name for name in self.layers if name not in rows.layers]
        if missing:
            raise RequestError(
                f"the rows lack the layers {', '.join(missing)} of the head's mix; there are {', '.join(rows.layers)}"
            )


def fitted_mix(head: HeadData, task: str | None, hidden: bool) -> HeadMix:
    """Return the mix of a task of a head; see `HeadMix`.

    Raises:
        RequestError: no task of this name, several tasks and no name, or no hidden layer.
    """
    if task is None and len(head.task_heads) > 1:
        raise RequestError(
            f"the head has several tasks, each with its mix: {', '.join(head.tasks)}; name one in {argument('task')}"
        )
    chosen = [one_task for one_task in head.task_heads if task in (None, one_task.name)]
    if not chosen:
        raise RequestError(
            f"{argument('task', task)}: the head has no such task; there are {', '.join(head.tasks)}"
        )
    if hidden and chosen[0].fitted.hidden is None:
        raise RequestError(
            f"{argument('hidden', True)}: task {chosen[0].name!r} has a linear head, without a hidden layer; leave it out, or "
            f"train with {argument('head_type', 'mlp')}"
        )
    single = HeadData(head.model, head.rows, head.pairs, (chosen[0],), head.training, head.provenance)
    return HeadMix(single, hidden)
