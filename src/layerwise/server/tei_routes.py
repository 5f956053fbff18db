"""The routes of Text Embeddings Inference, with its fields and errors; texts are cut only where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from layerwise import __version__
from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.server.exchange import (
    HttpRequest,
    InferenceRoute,
    PlainRoute,
    Planned,
    Reply,
    as_json,
    joined_json,
    usage_headers,
)
from layerwise.server.failures import Refusal, tei_error
from layerwise.server.fields import FieldError, Fields
from layerwise.server.openai_routes import checked_dimensions
from layerwise.server.render import json_matrix
from layerwise.serving.asks import EncodeAsk, HeadAnswers, LayerVectors, Vectors
from layerwise.serving.model import ServedModel
from layerwise.serving.service import Service

_CUTTING = ("inputs", "truncate", "truncation_direction", "prompt_name")
_EMBED = (*_CUTTING, "normalize", "dimensions")
_PREDICT = ("inputs", "truncate", "truncation_direction", "raw_scores")
_TOKENIZE = ("inputs", "add_special_tokens", "prompt_name")
FIELDS = (*_EMBED, *_PREDICT, *_TOKENIZE)
_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
_SINGLE = (
    "inputs has another form; give a string, a pair of strings, or a list of lists of one or two strings"
)


def plan_embed(service: Service, call: HttpRequest) -> Planned:
    """Admit a request for the vectors of texts, of unit length unless `normalize` is false or a transform makes them."""
    fields = Fields(call.body, _EMBED)
    texts, is_batch = _inputs(fields)
    model = service.first
    dimensions = checked_dimensions(model, fields)
    write = partial(_embedded, _normalizes(model, fields), dimensions)
    return Planned(model.mix(texts, _ask(fields)), write, is_batch)


def _normalizes(model: ServedModel, fields: Fields) -> bool:
    """Return whether vectors get unit length: by default those without a transform, and never those with one.

    Raises:
        FieldError: it is asked for, and a transform makes the vectors.
    """
    if model.transform is None:
        return fields.flag("normalize", default=True)
    if fields.flag("normalize"):
        raise FieldError(
            f"normalize doesn't go with the transform of this server ({model.transform.kind}); leave it out",
            "normalize",
        )
    return False


def plan_embed_all(service: Service, call: HttpRequest) -> Planned:
    """Admit a request for the vectors of all tokens of texts, special ones included."""
    fields = Fields(call.body, _CUTTING)
    texts, is_batch = _inputs(fields)
    ask = _ask(fields, level="token")
    return Planned(service.first.encode(texts, ask), _all_embedded, is_batch)


def plan_predict(service: Service, call: HttpRequest) -> Planned:
    """Admit a request for the classes of texts, by the only head."""
    fields = Fields(call.body, _PREDICT)
    model, name = _only_head(service)
    if fields.flag("raw_scores"):
        raise FieldError("raw_scores isn't available; leave it out to get probabilities", "raw_scores")
    texts, is_batch = _sequences(fields.any("inputs"), model.heads[name].pairs is not None)
    ask = EncodeAsk(truncate=fields.flag("truncate"), keep_end=_keep_end(fields))
    return Planned(model.predict([name], texts, ask), partial(_classified, is_batch), is_batch)


def tokenize(service: Service, call: HttpRequest) -> Reply:
    """Return the tokens of each text."""
    fields = Fields(call.body, _TOKENIZE)
    texts, _ = _inputs(fields)
    special = fields.flag("add_special_tokens", default=True)
    tokens = service.first.tokenize(texts, special=special, prompt_name=fields.text("prompt_name"))
    return as_json([list(map(asdict, tokens_of_text)) for tokens_of_text in tokens])


def info(service: Service, call: HttpRequest) -> Reply:
    """Return what is served, and its bounds."""
    model, limits = service.first, service.limits
    encoder = model.encoder
    return as_json(
        {
            "model_id": model.name,
            "model_sha": encoder.checkpoint.revision,
            "model_dtype": _PRECISIONS[encoder.precision],
            "model_type": {"embedding": {"pooling": encoder.default_pool}},
            "max_input_length": encoder.max_length,
            "max_batch_tokens": limits.batch_tokens,
            "max_client_batch_size": limits.texts,
            "auto_truncate": False,
            "version": __version__,
            "transform": None if model.transform is None else model.transform.describe(),
            "models": list(service.models),
            "heads": list(service.heads),
        }
    )


def _ask(fields: Fields, level: str = "text") -> EncodeAsk:
    return EncodeAsk(
        level=level,
        truncate=fields.flag("truncate"),
        keep_end=_keep_end(fields),
        prompt_name=fields.text("prompt_name"),
    )


def _keep_end(fields: Fields) -> bool | None:
    """Return whether the beginning of long texts is cut off; None where the request doesn't say it."""
    direction = fields.text("truncation_direction")
    if direction is not None and direction.lower() not in ("left", "right"):
        raise FieldError(
            f"truncation_direction {direction!r:.60} doesn't exist; choose Left or Right",
            "truncation_direction",
        )
    return None if direction is None else direction.lower() == "left"


def _inputs(fields: Fields) -> tuple[list[str], bool]:
    texts, is_batch = fields.texts("inputs")
    if not texts:
        raise Refusal(400, "empty", "inputs is an empty list; give at least one text")
    return texts, is_batch


def _embedded(normalize: bool, dimensions: int | None, answer: Vectors) -> Reply:
    values = answer.values[:, :dimensions]
    matrix = json_matrix(_of_unit_length(values) if normalize else values)
    return joined_json([matrix], usage_headers(answer.usage))


def _of_unit_length(values: F32) -> F32:
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit: F32 = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
    return unit


def _all_embedded(answer: LayerVectors) -> Reply:
    states = answer.states
    values = states.layer(states.layers[0])
    ends = np.searchsorted(states.index["doc"].to_numpy(), np.arange(states.text_count), side="right")
    matrices = [json_matrix(rows) for rows in np.split(values, ends[:-1])]
    return joined_json([b"[", b",".join(matrices), b"]"], usage_headers(answer.usage))


def _only_head(service: Service) -> tuple[ServedModel, str]:
    """Return the only head and its model.

    Raises:
        Refusal: there is none, or there are several.
    """
    heads = service.heads
    if len(heads) == 1:
        name, model = next(iter(heads.items()))
        return model, name
    if not heads:
        raise Refusal(422, "validation", "no head is served here; start the server with --head HEAD")
    paths = ", ".join(f"/predict/{name}" for name in heads)
    raise Refusal(422, "validation", f"{len(heads)} heads are served here; use /predict/{{head}}: {paths}")


def _sequences(inputs: Any, paired: bool) -> tuple[list[Any], bool]:
    """Return the texts, or the pairs, of `inputs`, and whether they are a batch."""
    if isinstance(inputs, list) and not inputs:
        raise Refusal(400, "empty", "inputs is an empty list; give at least one text")
    is_batch = isinstance(inputs, list) and isinstance(inputs[0], list)
    sequences = [
        sequence if isinstance(sequence, list) else [sequence]
        for sequence in (inputs if is_batch else [inputs])
    ]
    for sequence in sequences:
        if not 1 <= len(sequence) <= 2 or not all(isinstance(text, str) for text in sequence):
            raise FieldError(_SINGLE, "inputs")
        if (len(sequence) == 2) != paired:
            takes = (
                "pairs of texts; give two strings for each"
                if paired
                else "single texts; put each into a list of its own: [[…], […]]"
            )
            raise FieldError(
                f"inputs has {len(sequence)} strings for one answer, and the head takes {takes}", "inputs"
            )
    return [tuple(sequence) if paired else sequence[0] for sequence in sequences], is_batch


def _classified(is_batch: bool, answer: HeadAnswers) -> Reply:
    predictions = [_scores(of_text) for of_text in answer.answers]
    return as_json(predictions if is_batch else predictions[0], headers=usage_headers(answer.usage))


def _scores(answer: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the classes of a text, the likeliest first; of a regression its value.

    Raises:
        RequestError: an answer that has another form.
    """
    if "value" in answer:
        return [{"score": answer["value"], "label": "value"}]
    if "probabilities" not in answer:
        raise RequestError(
            "the head has answers of another form than /predict; use /predict/{head} with its name"
        )
    classes = [{"score": score, "label": label} for label, score in answer["probabilities"].items()]
    return sorted(classes, key=lambda entry: -entry["score"])


ROUTES = (
    InferenceRoute("/embed", plan_embed, tei_error),
    InferenceRoute("/embed_all", plan_embed_all, tei_error),
    InferenceRoute("/predict", plan_predict, tei_error),
    PlainRoute("/tokenize", tokenize, tei_error, methods=("POST",)),
    PlainRoute("/info", info, tei_error),
)
