"""What verbs return: frozen results that are shown as a few lines or as a table, and become data frames.

A verb that returns rows returns states or a dataset (`layerwise.states`); all others return one of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from layerwise._util import display
from layerwise._util.pandas import pandas_frame
from layerwise.errors import RequestError

if TYPE_CHECKING:
    from layerwise._util.pandas import PandasFrame

Entry = TypeVar("Entry")
Table = Mapping[str, Sequence[Any]]
"""The values of each column, by its name; all columns have the same length."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with the ends of its 95% interval; the ends are `None` where there is no interval."""

    score: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return `score`, `low` and `high`."""
        return {"score": self.score, "low": self.low, "high": self.high}


class Result(ABC):
    """A result: `repr` has at most five lines, a notebook shows a table, `to_pandas` returns it."""

    __slots__ = ()

    @abstractmethod
    def _lines(self) -> Sequence[str]:
        """Return the most important content in a few lines; the first line names the result."""

    @abstractmethod
    def _table(self) -> Table:
        """Return the table that `to_pandas` makes a data frame of."""

    def _shown_table(self) -> Table:
        """Return the table that a notebook shows."""
        return self._table()

    def _note(self) -> str:
        """Return what a notebook shows below the table."""
        return " · ".join(line for line in self._lines()[1:] if line)

    def to_pandas(self) -> PandasFrame:
        """Return the table of this result as a `pandas.DataFrame`; the docstring of the class names its columns.

        Raises:
            RequestError: pandas isn't installed.
        """
        return pandas_frame(self._table())

    def __repr__(self) -> str:
        return display.text(self._lines())

    def _repr_html_(self) -> str:
        table = self._shown_table()
        return display.html(self._lines()[0], tuple(table), zip(*table.values(), strict=True), self._note())


class NamedResult(Result, Generic[Entry]):
    """A result of entries with names: `result[name]`, `name in result`, `for name in result`."""

    __slots__ = ()
    _noun: ClassVar[str]  # what an entry is, for messages

    @abstractmethod
    def _entries(self) -> Mapping[str, Entry]:
        """Return the entries by name."""

    def __getitem__(self, name: str) -> Entry:
        """Return an entry by its name.

        Raises:
            RequestError: no entry has this name; the message lists the names.
        """
        entries = self._entries()
        if name not in entries:
            raise RequestError(f"no {self._noun} is called {name!r}; there are {', '.join(entries)}")
        return entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Facts(Result, Mapping[str, Any]):
    """Facts by name, as JSON values; read like a dict, equal to a dict with the same content.

    Facts differ from kind to kind, so this is a mapping and not a class with an attribute per fact. It is read
    only; `dict(facts)` is a copy that can be changed. `to_pandas()` has the columns `name` and `value`.

    Attributes:
        title: what the facts are about.
        content: the facts.
        summary: the most important facts, in a few lines; without it, the facts themselves are shown.
    """

    title: str
    content: Mapping[str, Any]
    summary: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a dict of JSON values."""
        return dict(self.content)

    def _lines(self) -> Sequence[str]:
        simple = {name: value for name, value in self.items() if isinstance(value, str | int | float)}
        facts = [f"{name} {_short(str(value))}" for name, value in simple.items()]
        return [self.title, *(self.summary or _packed(facts))]

    def _table(self) -> Table:
        return {"name": list(self), "value": list(self.values())}


def _short(value: str) -> str:
    return value if len(value) <= 60 else f"{value[:59]}…"


def _packed(facts: Sequence[str]) -> list[str]:
    """Return facts joined by `·` in as few lines as possible, at most as many as a display has."""
    lines = [""]
    for fact in facts:
        joined = f"{lines[-1]} · {fact}" if lines[-1] else fact
        if len(joined) <= display.COLUMNS:
            lines[-1] = joined
        else:
            lines.append(fact)
    return lines[: display.LINES - 1]
