"""The context that the texts of an extraction get, and how the source tells their documents."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from layerwise import choices
from layerwise.arguments import argument
from layerwise.errors import DatasetError
from layerwise.example import DOCUMENT, Example, document_key, document_of
from layerwise.options import ExtractOptions
from layerwise.read.documents import DocumentNeed
from layerwise.store.layout import Folder
from layerwise.store.manifest import Manifest
from layerwise.store.tables import read_table


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


@dataclass(frozen=True)
class StoredDocuments:
    """The documents of a finished dataset with context, to which texts are added.

    Attributes:
        folder: the folder of the dataset.
        shards: how many finished shards it has.
        column: the column of the source that names documents, for errors.
    """

    folder: Folder
    shards: int
    column: str

    @cached_property
    def _keys(self) -> frozenset[Hashable]:
        tables = (
            read_table(self.folder.shard(number, "texts"), columns=(DOCUMENT,))
            for number in range(self.shards)
        )
        values = (value for table in tables for value in table[DOCUMENT].unique().to_pylist())
        return frozenset(map(document_key, values)) - {None}

    def check_new(self, examples: Iterable[Example]) -> None:
        """Check that no text belongs to a stored document, whose rows were made without it.

        Raises:
            DatasetError: one does; named by its line.
        """
        for example in examples:
            if document_of(example) in self._keys:
                raise DatasetError(
                    f"{example.where} belongs to a document that is in the dataset already, and texts of a document must stand "
                    f"together to be each other's context; give new documents other names in column {self.column!r}, or extract "
                    f"all texts with another {argument('out')}"
                )
