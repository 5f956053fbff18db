"""Apply several heads of one model together: texts that they read alike go through the model once for all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from layerwise._util.progress import SILENT, Tracker
from layerwise.encode.computing import computing
from layerwise.errors import HeadError, RequestError
from layerwise.heads.answers import ANSWER_KEYS, Answer, answers
from layerwise.heads.head import HeadData
from layerwise.heads.inputs import UnknownTally, encode_together
from layerwise.heads.redactors import in_original, redact_as_trained, redaction_notes
from layerwise.heads.text_kind import TextKind, kind_of

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.example import Example

RESERVED = ("doc", "id", "empty")
"""The keys of a prediction beside its answers."""
_ROW_COLUMNS = ("start", "end", "probability")
"""The columns of a word or a span in CSV."""
_FORWARD = ("precision", "long", "max_length", "overlap", "prompt", "context", "redact")
"""What texts of one forward have in common; level, pool and special tokens may differ."""
_LOGGER = logging.getLogger("layerwise")
LoadEncoder = Callable[[], "Encoder"]


class HeadGroup:
    """One head, or several of the same model by their names.

    Attributes:
        heads: the heads by name, in order; a single head has the name "".
        pairs: the names of the two texts of a record, or `None`.
        texts: which texts the heads take.
    """

    def __init__(self, heads: Sequence[HeadData], encoders: Sequence[LoadEncoder]) -> None:
        """Check that some heads can be applied together.

        Args:
            heads: at least one.
            encoders: for each head a function that loads its model, or returns it.

        Raises:
            HeadError: heads of different models.
            RequestError: heads without a name, with the same name, or of different kinds of texts.
        """
        names = [""] if len(heads) == 1 else _names(heads)
        self.heads: Mapping[str, HeadData] = dict(zip(names, heads, strict=True))
        self._encoders = dict(zip(names, encoders, strict=True))
        for name in names[1:]:
            _check_models(names[0], heads[0], name, self.heads[name])
            _check_pairs(names[0], heads[0], name, self.heads[name])
        self.pairs = heads[0].pairs
        self.texts = _texts_of(list(self.heads.values()))
        self._forwards = _forwards(self.heads)

    @property
    def first(self) -> HeadData:
        """The first head."""
        return next(iter(self.heads.values()))

    @property
    def are_several(self) -> bool:
        """Whether the answers of each head are under its name."""
        return len(self.heads) > 1

    @property
    def keys(self) -> frozenset[str]:
        """The keys and columns that predictions use, in any format."""
        names = self.heads if self.are_several else self.first.tasks if len(self.first.tasks) > 1 else ()
        classes = [
            f"p:{name}" for head in self.heads.values() for task in head.task_heads for name in task.classes
        ]
        return frozenset({*RESERVED, *ANSWER_KEYS, *_ROW_COLUMNS, *classes, *names})

    def log_notes(self) -> None:
        """Log a note if texts can't be redacted as in training; and if they go through the model several times, and why."""
        for note in dict.fromkeys(note for head in self.heads.values() for note in redaction_notes(head)):
            _LOGGER.warning("%s", note)
        if len(self._forwards) == 1:
            return
        rows = [self.heads[names[0]].rows for names in self._forwards]
        differing = [key for key in _FORWARD if len({repr(entry.get(key)) for entry in rows}) > 1]
        forwards = [
            f"{' and '.join(names)} with {', '.join(f'{key} {entry.get(key)}' for key in differing)}"
            for names, entry in zip(self._forwards, rows, strict=True)
        ]
        _LOGGER.warning(
            "the heads were trained on texts that were encoded in different ways (%s), so texts go through the model "
            "%d times",
            "; ".join(forwards),
            len(forwards),
        )

    def answers(
        self,
        examples: Sequence[Example],
        batch_tokens: int | None = None,
        threads: int | None = None,
        track: Tracker = SILENT,
        unknown: UnknownTally | None = None,
    ) -> list[Answer]:
        """Return the answer for each text (each pair), of several heads under their names; count tokens in `unknown`."""
        answers_of_heads: dict[str, list[Answer]] = {}
        parts = track.split(*[1.0] * len(self._forwards))
        for names, part in zip(self._forwards, parts, strict=True):
            heads = [self.heads[name] for name in names]
            with computing(threads):
                encoder = self._encoders[names[0]]()
                texts = redact_as_trained(heads[0], examples)
                states = encode_together(heads, encoder, texts, batch_tokens, part)
                for name, head, rows in zip(names, heads, states, strict=True):
                    answers_of_heads[name] = _in_original(head, answers(head, rows), texts)
            if unknown is not None and names == self._forwards[0]:
                unknown.add(states[0])
        if not self.are_several:
            return answers_of_heads[""]
        columns = [answers_of_heads[name] for name in self.heads]
        return [dict(zip(self.heads, row, strict=True)) for row in zip(*columns, strict=True)]


def _in_original(head: HeadData, answers_of_texts: list[Answer], texts: Sequence[Example]) -> list[Answer]:
    """Return the answers of a head with offsets in the texts as they were before they were redacted."""
    if head.pairs is not None:  # two texts an answer, which has no offsets
        return answers_of_texts
    several = len(head.task_heads) > 1
    return [
        {name: in_original(part, text) for name, part in answer.items()}
        if several
        else in_original(answer, text)
        for answer, text in zip(answers_of_texts, texts, strict=True)
    ]


def _names(heads: Sequence[HeadData]) -> list[str]:
    """Return the names of several heads.

    Raises:
        RequestError: a head without a name, a name of two heads, or one that predictions use otherwise.
    """
    names = [head.name for head in heads]
    if None in names:
        number = names.index(None)
        raise RequestError(
            f"head {number} ({heads[number]!r:.60}) has no name, since it is in no folder, and answers of several heads "
            "are under their names; write it with its method save, or load it with lw.load_head"
        )
    for name in names:
        if names.count(name) > 1:
            raise RequestError(
                f"{names.count(name)} heads are called {name!r}, and the answers of each are under its name, that of its "
                "folder; rename the folder of one, or name each head once"
            )
        if name in RESERVED or not name:
            raise RequestError(
                f"a head is called {name!r}, and predictions have something else under this name; rename its folder"
            )
    return [str(name) for name in names]


def _check_models(first_name: str, first: HeadData, name: str, head: HeadData) -> None:
    for part in ("weights", "tokenizer", "config"):
        if head.model[part] != first.model[part]:
            raise HeadError(
                f"head {first_name!r} was trained on model {first.model['id']!r} ({part} {first.model[part][:12]}…) and "
                f"head {name!r} on {head.model['id']!r} ({part} {head.model[part][:12]}…), and one forward is of one model; "
                "apply them one by one"
            )


def _check_pairs(first_name: str, first: HeadData, name: str, head: HeadData) -> None:
    if (head.pairs, kind_of(head).joint) != (first.pairs, kind_of(first).joint):
        raise RequestError(
            f"head {first_name!r} takes {_texts(first)} and head {name!r} {_texts(head)}; apply them one by one"
        )


def _texts(head: HeadData) -> str:
    joint = kind_of(head).joint
    if joint is not None:
        return f"pairs of texts that are encoded together ({','.join(joint)})"
    return "single texts" if head.pairs is None else f"pairs of texts ({','.join(head.pairs)})"


def _texts_of(heads: Sequence[HeadData]) -> TextKind:
    """Return which texts several heads take: those of the first, in documents if any of them needs that.

    Raises:
        RequestError: heads that have their documents in columns of different names.
    """
    kinds = [kind for kind in map(kind_of, heads) if kind.context is not None]
    columns = list(dict.fromkeys(kind.document for kind in kinds))
    if len(columns) > 1:
        raise RequestError(
            f"the heads were trained with documents in different columns ({columns[0]!r} and {columns[1]!r}); apply them one "
            f"by one"
        )
    return kinds[0] if kinds else kind_of(heads[0])


def _forwards(heads: Mapping[str, HeadData]) -> list[list[str]]:
    """Return the names of the heads of each forward: those whose texts were encoded alike."""
    forwards: dict[tuple[object, ...], list[str]] = {}
    for name, head in heads.items():
        forwards.setdefault(tuple(repr(head.rows.get(key)) for key in _FORWARD), []).append(name)
    return list(forwards.values())
