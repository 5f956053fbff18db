"""The context that the texts of an extraction get, and how the source tells their documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from layerwise import choices
from layerwise.arguments import argument
from layerwise.options import ExtractOptions
from layerwise.read.documents import DocumentNeed
from layerwise.store.manifest import Manifest


@dataclass(frozen=True)
class SourceDocuments:
    """The documents of a source.

    Attributes:
        context: the most tokens of neighbours before and after each text; `None` for texts alone.
        column: the column of documents, where it is named.
        need: why texts are read in their documents; `None` without a context.
    """

    context: tuple[int, int] | None
    column: str | None
    need: DocumentNeed | None


def documents_of(
    options: ExtractOptions, extended: Path | None, manifest: Manifest | None
) -> SourceDocuments:
    """Return the context of an extraction; texts that are added get that of the dataset, unless the options say one.

    Args:
        options: those of `extract`.
        extended: the folder of the dataset that is added to.
        manifest: its manifest, if there is one.

    Raises:
        RequestError: a context that isn't one or two numbers.
    """
    stored = None if manifest is None or options.context is not None else manifest.settings
    if stored is None or stored.context is None:
        context = choices.read_context(options.context)
        why = "" if context is None else argument("context", choices.shown_context(context))
        need = DocumentNeed(f"{why} needs the documents of texts", f"leave {argument('context')} out")
        return SourceDocuments(context, options.document, need if context is not None else None)
    column = options.document if options.document is not None else stored.reading.document
    why = f"{extended} was made with {argument('context', choices.shown_context(stored.context))}"
    need = DocumentNeed(f"{why}, which needs the documents of texts", f"give another {argument('out')}")
    return SourceDocuments((stored.context[0], stored.context[1]), column, need)
