"""One served model: checks and plans requests, admits them, and makes their answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from layerwise.encode.request import Request, directed
from layerwise.errors import RequestError
from layerwise.example import Example, clean
from layerwise.heads.answers import answers
from layerwise.heads.head import HeadData
from layerwise.heads.inputs import examples_of, request_of_head, rows_of_head
from layerwise.heads.text_kind import kind_of
from layerwise.mixes import Mix, parse_mix, refuse_learned
from layerwise.serving.answer_room import AnswerRoom
from layerwise.serving.asks import EncodeAsk, HeadAnswers, LayerVectors, Ticket, Vectors, usage_of
from layerwise.serving.limits import Limits
from layerwise.serving.refusals import TooLarge
from layerwise.serving.scheduler import Scheduler
from layerwise.serving.tokens import Token, check_text_tokens, tokens_in
from layerwise.serving.transformed import check_fits, completed
from layerwise.serving.work import Work, WorkChunk
from layerwise.states import LayerStates
from layerwise.transforms import Transform
from layerwise.wording import Message

if TYPE_CHECKING:
    from layerwise.encode.request import Request

T = TypeVar("T")
_PROBE = "Does this model work?"


class ServedModel:
    """A model under a name, with the heads that were trained on it.

    Attributes:
        name: what requests call it.
        encoder, heads: the model, and its heads by name.
        transform: is applied to every mix that is asked for; None where there is none.
    """

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        heads: Mapping[str, HeadData],
        limits: Limits,
        room: AnswerRoom,
        transform: Transform | None = None,
    ) -> None:
        self.transform = transform
        self.name, self.encoder, self.heads = name, scheduler.encoder, heads
        self.scheduler, self._limits, self._room = scheduler, limits, room

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The lengths of vectors that can be asked for: the model's width, and that of its recipe; with a transform its own."""
        if self.transform is not None:
            return (self.transform.numbers,)
        steps = [step for step in self.encoder.checkpoint.not_applied if step.startswith("truncate_dim ")]
        digits = ["".join(filter(str.isdecimal, step)) for step in steps]
        return (self.encoder.width, *(int(number) for number in digits if number))

    def encode(self, texts: Sequence[str], ask: EncodeAsk) -> Ticket[LayerVectors]:
        """Admit a request for layers.

        Raises:
            RequestError: what the model can't do.
            Overloaded, Unavailable: see `Scheduler.submit`.
        """
        layers = "-1" if ask.layers is None else ask.layers
        request = self._request(replace(ask, layers=layers))
        return self._admit(self._examples(texts), [request], _layer_vectors, ask)

    def mix(self, texts: Sequence[str], ask: EncodeAsk) -> Ticket[Vectors]:
        """Admit a request for the vectors of a mix, by default the last layer; errors as of `encode`.

        With a transform, its mix is the default, and others are refused.
        """
        ask = ask if self.transform is None else completed(self.transform, ask)
        mix = parse_mix("-1" if ask.mix is None else ask.mix, self.encoder.blocks)
        refuse_learned(mix, "serve the head")
        request = self._request(replace(ask, layers=mix.layers))
        if self.transform is not None:
            check_fits(self.transform, mix, request)
        return self._admit(self._examples(texts), [request], partial(_mixed, mix, self.transform), ask)

    def predict(self, names: Sequence[str], texts: Sequence[Any], ask: EncodeAsk) -> Ticket[HeadAnswers]:
        """Admit a request for the answers of heads; of several, each answer is under the name of its head.

        Args:
            names: the names of the heads, each once.
            texts: strings, lists of words, or pairs of strings for heads of pairs.
            ask: only `truncate` and `keep_end` are used: heads read texts as in their training.

        Raises:
            RequestError: heads of single texts and of pairs, or texts of another kind; or as of `encode`.
        """
        heads = {name: self.heads[name] for name in names}
        first = next(iter(heads.values()))
        if any(kind_of(head) != kind_of(first) for head in heads.values()):
            raise RequestError(
                f"heads {', '.join(names)} take texts of different kinds (pairs, or single texts); ask them one by one"
            )
        records = examples_of(texts, kind_of(first))
        self._check_count(records)
        requests = [self._truncating(self._request_of_head(head), ask) for head in heads.values()]
        examples = [example for record in records for example in record]
        return self._admit(examples, requests, partial(_predicted, heads, records), ask)

    def tokenize(
        self, texts: Sequence[str], *, special: bool = True, prompt_name: str | None = None
    ) -> list[list[Token]]:
        """Return the tokens of each text, without truncation.

        Args:
            texts: the texts.
            special: whether special tokens are among them.
            prompt_name: the name of the prompt that is put before each text; none by default.

        Raises:
            RequestError: no text or too many, or no such prompt.
        """
        self._check_count(texts)
        check_text_tokens(self.encoder.tokenizer, texts, self._limits.request_tokens)
        prompt = "" if prompt_name is None else self._request(EncodeAsk(prompt_name=prompt_name)).prompt or ""
        tokens_of_texts = self.encoder.tokenizer.texts([prompt + clean(text) for text in texts])
        return [
            tokens_in(self.encoder.tokenizer.names, prompt + clean(text), tokens, special=special)
            for text, tokens in zip(texts, tokens_of_texts, strict=True)
        ]

    def works(self, seconds: float) -> bool:
        """Return whether a forward succeeds within `seconds`."""
        return self.scheduler.works(self._probe, seconds)

    def _probe(self) -> Work:
        request = self.encoder.request("-1", batch_tokens=self._limits.batch_tokens, prompt="")
        return Work(self._chunks([Example(_PROBE)], [request], None))

    def _request(self, ask: EncodeAsk) -> Request:
        request = self.encoder.request(
            "-1" if ask.layers is None else ask.layers,
            ask.level,
            ask.pool,
            special_tokens=ask.special_tokens,
            prompt_name=ask.prompt_name,
            batch_tokens=self._limits.batch_tokens,
        )
        if (ask.spans is not None) != (ask.level == "span"):
            raise RequestError(
                f"spans go with level 'span' and only with it; got level {ask.level!r} and "
                f"{'no spans' if ask.spans is None else 'spans'}"
            )
        return self._truncating(request, ask)

    def _request_of_head(self, head: HeadData) -> Request:
        return request_of_head(head, self.encoder, self._limits.batch_tokens)

    @staticmethod
    def _truncating(request: Request, ask: EncodeAsk) -> Request:
        long = "truncate" if ask.truncate else request.long
        cut = replace(request, long=long)
        return cut if ask.keep_end is None else directed(cut, ask.keep_end)

    def _examples(self, texts: Sequence[str]) -> list[Example]:
        self._check_count(texts)
        return [Example(clean(text)) for text in texts]

    def _check_count(self, texts: Sequence[Any]) -> None:
        if not texts:
            raise RequestError("there is no text; give at least one")
        if len(texts) > self._limits.texts:
            raise TooLarge(
                f"the request has {len(texts)} texts and may have {self._limits.texts}; send several requests"
            )

    def _admit(
        self,
        examples: Sequence[Example],
        requests: Sequence[Request],
        finish: Callable[[Sequence[LayerStates]], T],
        ask: EncodeAsk,
    ) -> Ticket[T]:
        # Before the texts are tokenised, which takes time; again when their tokens are counted.
        self.scheduler.check_room()
        self._check_sizes(examples, requests, ask)
        chunks = self._chunks(examples, requests, ask)
        work = Work(chunks, len(requests), time.monotonic() + self._limits.patience)
        most = self._limits.request_tokens
        if work.tokens > most:
            raise TooLarge(
                f"the request has {work.tokens} tokens (the overlaps of windows included) and may have {most}; send several "
                "requests, or shorter texts"
            )
        size = 4 * self.encoder.width * sum(chunk.vectors for chunk in chunks)
        release = self._room.reserve(size)
        try:
            self.scheduler.submit(work)
        except BaseException:
            release()
            raise
        return Ticket(work, finish, partial(self.scheduler.abandon, work), release)

    def _check_sizes(self, examples: Sequence[Example], requests: Sequence[Request], ask: EncodeAsk) -> None:
        """Refuse what is far too large before it is planned, which takes time and memory."""
        most = self._limits.cut_tokens if requests[0].long == "truncate" else self._limits.request_tokens
        check_text_tokens(self.encoder.tokenizer, [example.text for example in examples], most)
        spans = sum(map(len, ask.spans or ()))
        self._room.check(4 * self.encoder.width * spans * len(requests[0].layers))

    def _chunks(
        self, examples: Sequence[Example], requests: Sequence[Request], ask: EncodeAsk | None
    ) -> list[WorkChunk]:
        """Return the chunks of a request; views whose windows are the same share theirs."""
        # Small against a forward, so that several requests fill it.
        limit = max(1, self._limits.batch_tokens // 8)
        groups: dict[tuple[object, ...], list[int]] = {}
        for number, request in enumerate(requests):
            windows = (request.long, request.max_length, request.overlap, request.prompt, request.keep_end)
            groups.setdefault(windows, []).append(number)
        return [
            WorkChunk(views, shards)
            for views in groups.values()
            for shards in self.encoder.plan_chunks(
                examples, [requests[view] for view in views], limit, spans=None if ask is None else ask.spans
            )
        ]


def _layer_vectors(states: Sequence[LayerStates]) -> LayerVectors:
    return LayerVectors(states[0].checked(), usage_of(states[0]))


def _mixed(mix: Mix, transform: Transform | None, states: Sequence[LayerStates]) -> Vectors:
    rows = states[0]
    notes = [Message("note.serve.norm", mix=str(mix), n=rows.rows)] if mix.norm else []
    values = rows.mix(mix, stats=rows.mix_stats(mix) if mix.norm else None)
    return Vectors(values if transform is None else transform(values), rows, usage_of(rows), notes)


def _predicted(
    heads: Mapping[str, HeadData], records: Sequence[tuple[Example, ...]], states: Sequence[LayerStates]
) -> HeadAnswers:
    columns = {
        name: answers(head, rows_of_head(head, rows).checked())
        for (name, head), rows in zip(heads.items(), states, strict=True)
    }
    empty = [_is_empty(record) for record in records]
    rows_of_answers: Iterable[dict[str, Any]] = (
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    )
    if len(heads) == 1:
        rows_of_answers = next(iter(columns.values()))
    return HeadAnswers(
        [
            {"doc": doc, **({"empty": True} if is_empty else {}), **answer}
            for doc, (is_empty, answer) in enumerate(zip(empty, rows_of_answers, strict=True))
        ],
        usage_of(states[0]),
    )


def _is_empty(record: Sequence[Example]) -> bool:
    """Return whether a text (one of a pair) has nothing but blanks."""
    return any(not example.text.strip() for example in record)
