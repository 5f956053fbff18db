"""Progress of long calls: the event for callbacks, and the tracker that creates events from nested steps.

A verb opens one tracker (`tracking`) and passes parts of it to the functions it calls; a part is an interval of the
share of the whole call.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from layerwise.arguments import argument
from layerwise.errors import RequestError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a call, the argument of a callback passed as `progress=`. `str` returns one line.

    Callbacks are called one at a time, possibly in other threads than the caller's. An error raised by a callback
    ends the call.

    Attributes:
        stage: what is being done, such as `candidate mean(1:)` or `file reviews.csv`.
        number, of: the number of the stage from 1, and how many there are; `None` where unknown.
        detail: the step within the stage, such as `folds 1 to 25 of 25, C 4 of 6`; empty where there is none.
        share: the finished share of the call, 0 to 1; it never decreases. `None` where unknown.
        seconds_left: estimated seconds until the end; `None` while unknown.
        texts, tokens: how many the model has processed; `None` in calls whose main work isn't the model.
        texts_per_s, tokens_per_s: texts and tokens per second, from the first batch on.
        note: a message for the user that stays to be read, such as an estimate of the whole duration; empty in most events.
    """

    stage: str
    number: int | None = None
    of: int | None = None
    detail: str = ""
    share: float | None = None
    seconds_left: float | None = None
    texts: int | None = None
    tokens: int | None = None
    texts_per_s: float | None = None
    tokens_per_s: float | None = None
    note: str = ""

    def __str__(self) -> str:
        """Return one line: the share, the time left, then the stage and its detail.

        >>> str(Progress("candidate 6", 3, 13, "C 4 of 6", share=0.376, seconds_left=75))
        '37% · 1 min 15 s left · candidate 6, 3 of 13 · C 4 of 6'
        """
        parts = []
        if self.share is not None:
            parts.append(f"{int(self.share * 100)}%")
        if self.seconds_left is not None and self.share != 1:
            parts.append(f"{duration(self.seconds_left)} left")
        parts.append(self.stage if self.number is None else f"{self.stage}, {self.number} of {self.of}")
        parts += [self.detail] * bool(self.detail)
        parts += [
            f"{value:,.0f} {unit}"
            for value, unit in (
                (self.texts, "texts"),
                (self.texts_per_s, "texts/s"),
                (self.tokens_per_s, "tokens/s"),
            )
            if value is not None
        ]
        return " · ".join(parts)


Callback = Callable[[Progress], None]
"""The type of `progress=` in every long verb."""


def duration(seconds: float) -> str:
    """Return a duration in readable form.

    >>> duration(75)
    '1 min 15 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class _Call:
    """One call of a verb: its finished share, its clock, and its callback."""

    def __init__(self, callback: Callback | None, clock: Callable[[], float]) -> None:
        self.callback, self._clock, self._lock = callback, clock, threading.Lock()
        self._start, self._free, self._share = clock(), 0.0, 0.0
        self._texts = self._tokens = 0
        self._before: tuple[int, int] | None = None
        self._last = Progress("done")

    def report(self, step: Progress, share: float | None, texts: int = 0, tokens: int = 0) -> None:
        """Create the event of a step, and call the callback with it."""
        if self.callback is None:
            return
        with self._lock:
            self._texts, self._tokens = self._texts + texts, self._tokens + tokens
            now = self._clock()
            if share is not None:
                # Never less than before: shards that are made at the same time may report in another order.
                share = self._share = max(self._share, min(share, 1.0))
            if texts and self._before is None:
                # Rates are measured from the first batch: before it, a model was loaded or finished shards were skipped.
                self._start, self._free = now, self._share
                self._before = self._texts, self._tokens
            self._last = self._event(step, share, now - self._start)
            self.callback(self._last)

    def _event(self, step: Progress, share: float | None, seconds: float) -> Progress:
        seconds_left = None
        # What `skip` counted took no time, so the speed is that of the other part.
        if share is not None and share > self._free and seconds > 0:
            seconds_left = seconds * (1 - share) / (share - self._free)
        if self._before is None:
            return replace(step, share=share, seconds_left=seconds_left)
        counts = (self._texts - self._before[0], self._tokens - self._before[1])
        rates = [count / seconds if seconds > 0 and count else None for count in counts]
        return replace(
            step,
            share=share,
            seconds_left=seconds_left,
            texts=self._texts,
            tokens=self._tokens,
            texts_per_s=rates[0],
            tokens_per_s=rates[1],
        )

    def skip(self, share: float) -> None:
        """Count a share of the call as done without any time spent."""
        with self._lock:
            self._free += share
            self._share = min(1.0, self._share + share)

    def finish(self) -> None:
        """Report that the call is done."""
        if self.callback is not None:
            with self._lock:
                self.callback(replace(self._last, detail="", note="", share=1.0, seconds_left=0.0))


class Tracker:
    """A part of a call, as an interval of its share; split into smaller parts for the functions that do them.

    Without a callback it reports nothing, at no cost.
    """

    def __init__(
        self,
        call: _Call,
        low: float = 0.0,
        high: float = 1.0,
        step: Progress = Progress(""),
        has_share: bool = True,
    ) -> None:
        """Create a part; called by `tracking` and by the methods."""
        self._call, self._low, self._high, self._step, self._has_share = call, low, high, step, has_share

    @property
    def silent(self) -> bool:
        """Whether there is no callback."""
        return self._call.callback is None

    def split(self, *weights: float) -> list["Tracker"]:
        """Split this part into consecutive parts whose durations are proportional to `weights`."""
        total, done, parts = sum(weights) or 1.0, 0.0, []
        for weight in weights:
            parts.append(self.between(done / total, (done + weight) / total))
            done += weight
        return parts

    def between(self, low: float, high: float) -> "Tracker":
        """Return the part between two shares of this part."""
        size = self._high - self._low
        return Tracker(
            self._call, self._low + size * low, self._low + size * high, self._step, self._has_share
        )

    def unknown(self) -> "Tracker":
        """Return this part without a known share of the call."""
        return Tracker(self._call, self._low, self._high, self._step, has_share=False)

    def each(
        self, items: Sequence[T], names: Iterable[str], weights: Sequence[float] | None = None
    ) -> Iterator[tuple[T, "Tracker"]]:
        """Yield each item with its part of the call, and report it before its work begins.

        At the outer level the names are stages, with number and count; within a stage they are details.

        Args:
            items: the items to work on.
            names: the names of the steps.
            weights: the duration of each, in any unit; equal by default.
        """
        parts = self.split(*(weights if weights is not None else [1.0] * len(items)))
        for number, (item, name, part) in enumerate(zip(items, names, parts, strict=True), 1):
            yield item, part.named(name, number, len(items))

    def named(
        self,
        name: str,
        number: int | None = None,
        of: int | None = None,
        *,
        done: float | None = 0.0,
        texts: int = 0,
        tokens: int = 0,
    ) -> "Tracker":
        """Return this part with the name of its work, and report how much of it is done; see `each`, `report`."""
        step = self._step
        if step.stage and not name:
            return self
        nested = replace(step, detail=_joined(step.detail, name))
        step = nested if step.stage else Progress(name, number, of)
        part = Tracker(self._call, self._low, self._high, step, self._has_share)
        part.report(done, texts=texts, tokens=tokens)
        return part

    def report(self, done: float | None, detail: str = "", *, texts: int = 0, tokens: int = 0) -> None:
        """Report how much of this part is done.

        Args:
            done: the finished share of this part, 0 to 1; `None` where unknown.
            detail: the step within the part.
            texts, tokens: how many more the model has processed.
        """
        if self.silent:
            return
        share = None
        if done is not None and self._has_share:
            share = self._low + (self._high - self._low) * min(max(done, 0.0), 1.0)
        step = replace(self._step, detail=_joined(self._step.detail, detail)) if detail else self._step
        self._call.report(step, share, texts, tokens)

    def note(self, text: str) -> None:
        """Report a message that stays to be read."""
        if not self.silent:
            self._call.report(replace(self._step, note=text), self._low if self._has_share else None)

    def skip(self, done: float) -> None:
        """Count a share of this part as done without any time spent; the time left is estimated from the rest."""
        self._call.skip((self._high - self._low) * done)


def _joined(first: str, second: str) -> str:
    return f"{first}, {second}" if first else second


SILENT = Tracker(_Call(None, lambda: 0.0))
"""A tracker without a callback."""


@contextmanager
def tracking(progress: Callback | None, clock: Callable[[], float] = time.monotonic) -> Iterator[Tracker]:
    """Track one call of a verb; report its end when the block ends without an error.

    Args:
        progress: the callback of the caller.
        clock: returns seconds.

    Raises:
        RequestError: a callback that can't be called.
    """
    if progress is not None and not callable(progress):
        raise RequestError(
            f"{argument('progress', progress)} can't be called; give a function of one lw.Progress"
        )
    call = _Call(progress, clock)
    yield Tracker(call)
    call.finish()


def counted(track: Tracker, texts: int) -> Callable[[int, int], None]:
    """Return a function that reports the batches of `texts` texts, which have hardly more windows than texts."""
    done = 0

    def on_batch(tokens: int, windows: int) -> None:
        nonlocal done
        more = min(windows, texts - done)
        done += more
        track.report(done / texts, texts=more, tokens=tokens)

    return on_batch
