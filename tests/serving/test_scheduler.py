"""The scheduler: vectors of `encode` whatever shares the forward, whole or not at all, and each request for itself."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conftest import CORPUS
from layerwise.encode.encoder import examples_of_texts
from layerwise.errors import RequestError
from layerwise.serving.asks import EncodeAsk
from layerwise.serving.limits import Limits
from layerwise.serving.refusals import InferenceError, Overloaded, TooLarge, Unavailable
from layerwise.serving.scheduler import Scheduler
from layerwise.serving.service import Service
from layerwise.serving.work import Work, WorkChunk
from waiting import SECONDS, until

ASKS = [
    EncodeAsk(layers="-1"),
    EncodeAsk(layers="emb"),
    EncodeAsk(layers="1", pool="max"),
    EncodeAsk(layers="all", pool="cls"),
    EncodeAsk(layers="2", level="word"),
    EncodeAsk(layers="1,3", level="token"),
    EncodeAsk(layers="3", pool="sum", special_tokens=False),
    EncodeAsk(layers="2", truncate=True),
]
LIMITS = Limits(batch_tokens=256, queue_tokens=10**6)
# Products of other shapes round otherwise; the largest difference seen was 3e-7 of the largest number.
TOLERANCE = 1e-5


@pytest.fixture
def encoder(encoder_of: Callable[[str], Any]) -> Any:
    return encoder_of("bert")


@pytest.fixture
def service(encoder: Any) -> Iterator[Service]:
    with Service([encoder], limits=LIMITS) as service:
        yield service


def of_encode(encoder: Any, texts: list[str], ask: EncodeAsk) -> Any:
    long = "truncate" if ask.truncate else "window"
    return encoder.encode(
        texts, ask.layers, ask.level, ask.pool, special_tokens=ask.special_tokens, long=long
    )


def work_of(encoder: Any, texts: list[str], layers: str = "-1", **options: Any) -> Work:
    chunks = encoder.plan_chunks(examples_of_texts(texts), [encoder.request(layers)], 64)
    return Work([WorkChunk([0], chunk) for chunk in chunks], **options)


class Held:
    """A lock that a test keeps a scheduler from its model with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.waits = threading.Event()

    def __enter__(self) -> None:
        self.waits.set()
        self._lock.acquire()

    def __exit__(self, *_: Any) -> None:
        self._lock.release()

    def hold(self) -> None:
        self._lock.acquire()

    def let_go(self) -> None:
        self._lock.release()


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def scheduler(encoder: Any, held: Held) -> Iterator[Scheduler]:
    """A scheduler whose model waits for `held`, and whose queue holds 300 tokens."""
    scheduler = Scheduler(encoder, replace(LIMITS, queue_tokens=300, max_wait=0.0), turn=held)
    held.hold()
    scheduler.start()
    yield scheduler
    if held._lock.locked():
        held.let_go()
    scheduler.stop()


def occupy(scheduler: Scheduler, held: Held, encoder: Any) -> Work:
    """Let the scheduler begin a forward, which waits."""
    first = work_of(encoder, ["a"])
    scheduler.submit(first)
    assert held.waits.wait(SECONDS)
    return first


def test_64_clients_get_the_vectors_of_encode(service: Service, encoder: Any) -> None:
    """Whatever shares their forwards: all of them ask at once, for other layers, levels and pools."""
    count, rounds = 64, 4
    together = threading.Barrier(count)
    texts = [CORPUS[number % 7 :: 1 + number % 5] for number in range(count)]

    def ask(number: int) -> list[Any]:
        together.wait()
        tickets = [service.first.encode(texts[number], ASKS[(number + n) % len(ASKS)]) for n in range(rounds)]
        return [ticket.result(SECONDS) for ticket in tickets]

    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(ask, range(count)))
    for number, answers_of_client in enumerate(answers):
        for n, answer in enumerate(answers_of_client):
            ask_of_answer = ASKS[(number + n) % len(ASKS)]
            alone = of_encode(encoder, texts[number], ask_of_answer)
            assert answer.states.layers == alone.layers
            assert answer.states.index.to_pylist() == alone.index.to_pylist()
            assert answer.states.texts.to_pylist() == alone.texts.to_pylist()
            for name in alone.layers:
                largest = np.abs(alone.layer(name)).max()
                difference = np.abs(answer.states.layer(name) - alone.layer(name)).max()
                assert difference <= TOLERANCE * largest, (ask_of_answer, name)
    assert service.room.reserved == 0


def test_forwards_are_shared(encoder: Any, scheduler: Scheduler, held: Held) -> None:
    sizes: list[int] = []
    run = encoder.states_of_chunks

    class Recorded:
        def __getattr__(self, name: str) -> Any:
            return getattr(encoder, name)

        def states_of_chunks(self, chunks: Any, budget: int, **options: Any) -> Any:
            sizes.append(len(chunks))
            return run(chunks, budget, **options)

    scheduler.encoder = Recorded()  # type: ignore[assignment]
    occupy(scheduler, held, encoder)
    works = [work_of(encoder, ["a b", "c"], layers) for layers in ("1", "3", "emb", "all")]
    for work in works:
        scheduler.submit(work)
    held.let_go()
    for work in works:
        work.future.result(SECONDS)
    assert sizes == [1, 4]


def test_a_request_is_admitted_whole_or_refused_whole(encoder: Any, scheduler: Scheduler, held: Held) -> None:
    occupy(scheduler, held, encoder)
    admitted = work_of(encoder, ["word " * 60] * 4)
    assert 200 < admitted.tokens < 300
    scheduler.submit(admitted)
    queued = list(scheduler._queue)
    with pytest.raises(
        Overloaded, match=r"tokens are in the queue, which holds 300.*try again later"
    ) as refusal:
        scheduler.submit(work_of(encoder, ["word " * 60] * 2))
    assert refusal.value.retry_after >= 1
    assert scheduler._queue == queued, "nothing of it is in the queue"
    small = work_of(encoder, ["a"])
    scheduler.submit(small)
    held.let_go()
    for work in (admitted, small):
        assert work.future.result(SECONDS)[0].rows in (4, 1)


def test_an_empty_queue_takes_a_request_that_is_larger_than_it(
    encoder: Any, scheduler: Scheduler, held: Held
) -> None:
    large = work_of(encoder, ["word " * 60] * 20)
    assert large.tokens > 300
    scheduler.submit(large)
    held.let_go()
    assert large.future.result(SECONDS)[0].rows == 20


def test_a_large_request_lets_others_through(encoder: Any, scheduler: Scheduler, held: Held) -> None:
    occupy(scheduler, held, encoder)
    large, small = work_of(encoder, ["word " * 60] * 30), work_of(encoder, ["a"])
    scheduler.submit(large)
    with scheduler._change:
        scheduler._add(small, 1)
    held.let_go()
    small.future.result(SECONDS)
    large.future.result(SECONDS)
    assert small.finished < large.finished
    assert small.started - large.started < 0.5 * (large.finished - large.started) + 0.01


def test_a_client_that_went_away_is_not_served(encoder: Any, scheduler: Scheduler, held: Held) -> None:
    occupy(scheduler, held, encoder)
    gone, stays = work_of(encoder, ["word " * 60] * 3), work_of(encoder, ["a"])
    scheduler.submit(gone)
    scheduler.submit(stays)
    before = scheduler._queued
    scheduler.abandon(gone)
    assert before - scheduler._queued == gone.tokens
    held.let_go()
    stays.future.result(SECONDS)
    assert not gone.started
    assert scheduler._queued == 0


def test_a_long_text_ends_when_its_client_goes_away(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    forwards = 0
    run = encoder._engine.run
    with Service([encoder], limits=replace(LIMITS, batch_tokens=80)) as service:
        scheduler = service.first.scheduler

        def counted(*arguments: Any) -> None:
            nonlocal forwards
            forwards += 1
            if forwards == 3:
                ticket.abandon()
            run(*arguments)

        monkeypatch.setattr(encoder._engine, "run", counted)
        with scheduler._change:  # it begins when the ticket is there
            ticket = service.first.encode(["word " * 2000], EncodeAsk())
        until(lambda: forwards >= 3, "three forwards")
        assert service.first.encode(["a"], EncodeAsk()).result(SECONDS).states.rows == 1
        assert forwards == 4, "the windows that were left weren't computed"
        assert not ticket.work.future.done()


def test_a_request_that_waited_too_long_is_refused(encoder: Any, scheduler: Scheduler, held: Held) -> None:
    occupy(scheduler, held, encoder)
    late = work_of(encoder, ["a"], deadline=time.monotonic() - 1)
    scheduler.submit(late)
    held.let_go()
    with pytest.raises(Overloaded, match="waited 0 s in the queue"):
        late.future.result(SECONDS)
    assert not late.started


def test_a_request_on_which_the_model_fails_fails_alone(
    encoder: Any, scheduler: Scheduler, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = encoder._engine.run
    bad = int(encoder.tokenizer.texts(["x"])[0].ids[1])

    def failing(sequences: Any, batch: Any, layers: Any, on_layer: Any) -> None:
        if any(bad in sequences.ids[n] for n in batch.windows):
            raise RuntimeError("the text was: secret")
        run(sequences, batch, layers, on_layer)

    monkeypatch.setattr(encoder._engine, "run", failing)
    occupy(scheduler, held, encoder)
    works = [work_of(encoder, [text]) for text in ("a", "x", "word", "x word")]
    for work in works:
        scheduler.submit(work)
    held.let_go()
    for work in (works[0], works[2]):
        assert work.future.result(SECONDS)[0].rows == 1
    for work in (works[1], works[3]):
        with pytest.raises(InferenceError, match="the model failed on this request") as failure:
            work.future.result(SECONDS)
        assert "secret" not in str(failure.value)
    monkeypatch.undo()
    again = work_of(encoder, ["x"])
    scheduler.submit(again)
    assert again.future.result(SECONDS)[0].rows == 1, "the scheduler lives on"


def test_a_stop_finishes_what_was_admitted(encoder: Any, scheduler: Scheduler, held: Held) -> None:
    first = occupy(scheduler, held, encoder)
    works = [first, *(work_of(encoder, ["word " * 20] * 3) for _ in range(3))]
    for work in works[1:]:
        scheduler.submit(work)
    stopper = threading.Thread(target=scheduler.stop)
    stopper.start()
    until(lambda: scheduler._stops, "the stop")
    with pytest.raises(Unavailable, match="stopping"):
        scheduler.submit(work_of(encoder, ["a"]))
    held.let_go()
    stopper.join(SECONDS)
    assert all(work.future.done() for work in works)
    assert [work.future.result()[0].rows for work in works] == [1, 3, 3, 3]


def test_it_works_while_a_forward_does(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service([encoder], limits=LIMITS)
    assert not service.works(), "not started"
    with service:
        assert service.first.works(SECONDS)
        model = service.first
        monkeypatch.setattr(model.scheduler, "_worked", 0.0)

        def failing(*_: Any) -> None:
            raise RuntimeError

        with monkeypatch.context() as broken:
            broken.setattr(encoder._engine, "run", failing)
            assert not model.works(SECONDS)
        assert model.works(SECONDS), "it recovers"
    assert not service.works(), "stopped"


def test_requests_are_bounded(encoder: Any) -> None:
    limits = replace(LIMITS, texts=3, request_tokens=100, answer_bytes=4 * encoder.width * 10)
    with Service([encoder], limits=limits) as service:
        model = service.first
        assert model.encode(["a"] * 3, EncodeAsk()).result(SECONDS).states.rows == 3
        with pytest.raises(TooLarge, match="has 4 texts and may have 3"):
            model.encode(["a"] * 4, EncodeAsk())
        with pytest.raises(TooLarge, match=r"has \d+ tokens .* and may have 100"):
            model.encode(["." * 100], EncodeAsk())
        with pytest.raises(TooLarge, match="have more than 100 tokens"):
            model.encode(["word " * 300], EncodeAsk())
        with pytest.raises(TooLarge, match="bytes of vectors"):
            model.encode(["word " * 20], EncodeAsk(level="token"))
        with pytest.raises(RequestError, match="there is no text"):
            model.encode([], EncodeAsk())
        assert service.room.reserved == 0


def test_answers_that_are_being_sent_are_bounded(encoder: Any) -> None:
    limits = replace(LIMITS, all_answer_bytes=4 * encoder.width * 3)
    with Service([encoder], limits=limits) as service:
        model = service.first
        first = model.encode(["a", "b"], EncodeAsk())
        first.work.future.result(SECONDS)
        with pytest.raises(Overloaded, match="are being sent"):
            model.encode(["a", "b"], EncodeAsk())
        first.release()
        first.release()
        assert service.room.reserved == 0
        assert model.encode(["a", "b"], EncodeAsk()).result(SECONDS).states.rows == 2


def test_the_queue_holds_what_the_model_computes_in_some_seconds(encoder: Any) -> None:
    scheduler = Scheduler(encoder, replace(LIMITS, queue_tokens=None))
    assert scheduler.bound == 4 * LIMITS.batch_tokens, "before the first forward"
    scheduler._measure(20_000, 2.0)
    assert scheduler.bound == 40_000
