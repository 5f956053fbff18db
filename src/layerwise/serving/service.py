"""All that a server knows: its models and heads by name, and whether they work."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise.errors import HeadError, LayerwiseError, RequestError
from layerwise.heads.head import HeadData
from layerwise.heads.text_kind import kind_of
from layerwise.serving.answer_room import AnswerRoom
from layerwise.serving.limits import Limits, limits_of
from layerwise.serving.model import ServedModel
from layerwise.serving.refusals import NotServed, Overloaded, Unavailable
from layerwise.serving.scheduler import Scheduler, Watcher
from layerwise.serving.transformed import model_of
from layerwise.transforms import Transform

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder

_HEALTH_SECONDS = 10.0


class Service:
    """Models and heads by name.

    >>> from layerwise.encode.load import load_encoder
    >>> from layerwise.serving.asks import EncodeAsk
    >>> with Service([load_encoder("minilm")]) as service:
    ...     ticket = service.model("minilm").mix(["Hello, world!"], EncodeAsk(mix="mean(-4:)"))
    ...     ticket.result().values.shape
    (1, 384)

    Attributes:
        models: those that are served, by name; the first one is used where a request names none.
        limits: the bounds of requests.
        room: the memory that answers take.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder],
        heads: Sequence[HeadData] = (),
        *,
        transform: Transform | None = None,
        limits: Limits | None = None,
        threads: int | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        """Prepare models and heads; `start` starts their threads.

        Args:
            encoders: the models, at least one.
            heads: heads of these models.
            transform: is applied to every mix of its model.
            limits: the bounds of requests.
            threads: the number of threads to compute with; models take turns.
            watcher: is told of each forward.

        Raises:
            RequestError: two models or heads of the same name; a transform of another model, or of a mix that a server doesn't
                compute.
            HeadError: a head of another model or precision, or one whose texts a server can't prepare as in its training.
        """
        names = _names(encoders)
        head_names = [_head_name(head) for head in heads]
        for name, head in zip(head_names, heads, strict=True):
            _check_texts(name, head)
        _check_distinct("heads", head_names)
        self.limits = limits or limits_of(encoders[0])
        self.room = AnswerRoom(self.limits)
        transformed = None if transform is None else model_of(transform, encoders)
        owners = [_owner(head, encoders) for head in heads]
        turn = threading.Lock()
        self.models: dict[str, ServedModel] = {}
        for name, encoder in zip(names, encoders, strict=True):
            scheduler = Scheduler(encoder, self.limits, threads=threads, watcher=watcher, turn=turn)
            owned = zip(head_names, heads, owners, strict=True)
            heads_of_model = {head_name: head for head_name, head, owner in owned if owner is encoder}
            self.models[name] = ServedModel(
                name,
                scheduler,
                heads_of_model,
                self.limits,
                self.room,
                transform if encoder is transformed else None,
            )

    @property
    def first(self) -> ServedModel:
        """The model of requests that name none."""
        return next(iter(self.models.values()))

    @property
    def heads(self) -> Mapping[str, ServedModel]:
        """The model of each head, by the name of the head."""
        return {name: model for model in self.models.values() for name in model.heads}

    def model(self, name: str | None) -> ServedModel:
        """Return a model by its name, or the first one.

        Raises:
            NotServed: no such model.
        """
        if name is None:
            return self.first
        if name not in self.models:
            raise NotServed(f"model {name!r:.80} isn't served here; there are {', '.join(self.models)}")
        return self.models[name]

    def model_of(self, heads: Sequence[str]) -> ServedModel:
        """Return the model of some heads.

        Raises:
            NotServed: no such head.
            RequestError: heads of different models, or one that is named twice.
        """
        for name in heads:
            if name not in self.heads:
                there_are = f"there are {', '.join(self.heads)}" if self.heads else "there are none"
                raise NotServed(f"head {name!r:.80} isn't served here; {there_are}")
        _check_distinct("heads", list(heads))
        models = {self.heads[name].name: self.heads[name] for name in heads}
        if len(models) > 1:
            raise RequestError(f"heads {', '.join(heads)} are of different models; ask them one by one")
        return next(iter(models.values()))

    def check_room(self) -> None:
        """Check that a model has room in its queue.

        Raises:
            Overloaded, Unavailable: none has.
        """
        refusals: list[LayerwiseError] = []
        for model in self.models.values():
            try:
                return model.scheduler.check_room()
            except (Overloaded, Unavailable) as refusal:
                refusals.append(refusal)
        raise refusals[0]

    def works(self) -> bool:
        """Return whether a forward of each model succeeds."""
        return all(model.works(_HEALTH_SECONDS) for model in self.models.values())

    def start(self) -> None:
        """Start the threads of all models."""
        for model in self.models.values():
            model.scheduler.start()

    def stop(self, patience: float | None = None) -> None:
        """Finish what was admitted, and stop; wait at most `patience` seconds for each model."""
        for model in self.models.values():
            model.scheduler.stop(patience)

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def _names(encoders: Sequence[Encoder]) -> list[str]:
    """Return the names of models: that of the hub or an alias, or of a folder its own name."""
    names = [
        Path(encoder.home).name if Path(encoder.home).is_absolute() else encoder.checkpoint.name
        for encoder in encoders
    ]
    _check_distinct("models", names)
    for name in names:
        if "@" in name:
            raise RequestError(
                f"model {name!r} has an @ in its name, which begins the mix in requests; rename its folder"
            )
    return names


def _head_name(head: HeadData) -> str:
    if not head.name or "," in head.name or "/" in head.name:
        raise RequestError(
            f"head {head!r:.60} is called {head.name!r}, and requests name it in an address; give its folder a name without "
            "commas and slashes"
        )
    return head.name


def _check_distinct(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise RequestError(
                f"{names.count(name)} {what} are called {name!r}, and requests name each by its folder; rename a folder, or "
                "name each once"
            )


def _check_texts(name: str, head: HeadData) -> None:
    """Raise HeadError for a head whose texts were prepared in a way that a server doesn't do."""
    if kind_of(head).context is not None:
        raise HeadError(
            f"head {name!r} was trained on texts with the context of their documents, and a server gets texts without documents; "
            "use `layerwise predict`, or train a head on a dataset without context"
        )
    if head.rows.get("redact") is not None:
        raise HeadError(
            f"head {name!r} was trained on redacted texts, and a server doesn't redact; use `layerwise predict`, or train a head "
            "on a dataset without redaction"
        )


def _owner(head: HeadData, encoders: Sequence[Encoder]) -> Encoder:
    """Return the model of a head.

    Raises:
        HeadError: it isn't served.
    """
    parts = ("weights", "tokenizer", "config")
    for encoder in encoders:
        is_model = all(encoder.hashes[part] == head.model[part] for part in parts)
        if is_model and encoder.precision == head.rows["precision"]:
            return encoder
    served = ", ".join(f"{encoder.checkpoint.name} ({encoder.precision})" for encoder in encoders)
    raise HeadError(
        f"head {head.name!r} was trained on model {head.model['id']!r} with precision {head.rows['precision']}, and these are "
        f"served: {served}; serve that model too, or leave the head out"
    )
