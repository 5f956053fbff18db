"""Which texts a head takes: single ones or pairs, alone or in the context of their documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from layerwise import choices
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.example import DOCUMENT, PART
from layerwise.heads.head import HeadData
from layerwise.read.documents import DocumentNeed


@dataclass(frozen=True, slots=True)
class TextKind:
    """Which texts a head takes.

    Attributes:
        pairs: the columns of the two texts of a record, each encoded alone; `None` for single texts.
        joint: the columns of the two texts that are encoded together; `None` for others.
        context: the tokens of neighbours before and after each text; `None` for texts alone.
        document: the column of documents, where there is a context.
        reading: the options `text`, `words` and `join` with which the texts of the training were read, those that were given.
    """

    pairs: tuple[str, str] | None = None
    joint: tuple[str, str] | None = None
    context: tuple[int, int] | None = None
    document: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide how texts are encoded."""
        return (PART,) if self.context is None else (PART, DOCUMENT)

    @property
    def need(self) -> DocumentNeed | None:
        """Why texts are needed in their documents; `None` without context."""
        if self.context is None:
            return None
        context = argument("context", choices.shown_context(self.context))
        why = f"the head was trained on texts with the context of their documents ({context})"
        return DocumentNeed(why, f"give {argument('context', 0)} to encode each text by itself")


def kind_of(head: HeadData) -> TextKind:
    """Return which texts a head takes."""
    return replace(kind_of_rows(head.rows, head.pairs), reading=head.training.get("reading") or {})


def kind_of_rows(rows: Mapping[str, Any], pairs: tuple[str, str] | None) -> TextKind:
    """Return which texts are made into `rows`, see `HeadData`; `pairs`: the columns of two texts that are encoded alone."""
    joint, context = rows.get("joint"), rows.get("context")
    return TextKind(
        pairs,
        None if joint is None else (joint[0], joint[1]),
        None if context is None else (context[0], context[1]),
        rows.get("document"),
    )


def with_context(head: HeadData, context: Sequence[int] | str | int | None) -> HeadData:
    """Return a head whose texts are encoded as in the training, or with `context` 0 each by itself.

    Raises:
        RequestError: any other context.
    """
    if context is None:
        return head
    sides = choices.read_context(context)
    if sides is not None:
        trained = kind_of(head).context
        how = "alone" if trained is None else f"with {argument('context', choices.shown_context(trained))}"
        raise RequestError(
            f"{argument('context', choices.shown_context(sides))}: texts are encoded as in the training of the head, which is "
            f"{how}; leave it out, or give 0 to encode each text by itself"
        )
    rows = {name: value for name, value in head.rows.items() if name not in ("context", "document")}
    return HeadData(head.model, rows, head.pairs, head.task_heads, head.training, head.provenance, head.name)
