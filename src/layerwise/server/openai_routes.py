"""`/v1/embeddings` and `/v1/models`: what OpenAI's clients call."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from layerwise.layers import short_mix
from layerwise.server.exchange import (
    HttpRequest,
    InferenceRoute,
    PlainRoute,
    Planned,
    Reply,
    as_json,
    joined_json,
    usage_fields,
    usage_headers,
)
from layerwise.server.failures import openai_error
from layerwise.server.fields import FieldError, Fields
from layerwise.server.render import base64_rows, json_rows
from layerwise.serving.asks import EncodeAsk, Vectors
from layerwise.serving.model import ServedModel
from layerwise.serving.service import Service

FIELDS = ("input", "model", "encoding_format", "dimensions", "user", "mix", "pool", "truncate")
_MIXES = (
    "LAYER",
    "sum(LAYERS)",
    "mean(LAYERS)",
    "max(LAYERS)",
    "concat(LAYERS)",
    "weighted(LAYERS; WEIGHTS)",
)
_CREATED = 1_700_000_000  # OpenAI's clients need a number; a model has no time of its own


def plan_embeddings(service: Service, call: HttpRequest) -> Planned:
    """Admit a request for embeddings."""
    fields = Fields(call.body, FIELDS)
    texts, is_batch = fields.texts("input")
    encoding = fields.choice("encoding_format", ("float", "base64"), "float")
    fields.text("user")
    model, mix = named(service, fields)
    dimensions = checked_dimensions(model, fields)
    ask = EncodeAsk(mix=mix, pool=fields.text("pool"), truncate=fields.flag("truncate"))
    name = fields.text("model") or model.name
    return Planned(
        model.mix(texts, ask), partial(_embeddings, name, encoding == "base64", dimensions), is_batch
    )


def named(service: Service, fields: Fields) -> tuple[ServedModel, str | None]:
    """Return the model that a request names, and its mix: of the field `mix`, or after an @ in the name of the model.

    Raises:
        NotServed: no such model.
        RequestError: the mix is given twice.
    """
    mix, name = fields.text("mix"), fields.text("model")
    if name is None or name in service.models or "@" not in name:
        return service.model(name), mix
    name, _, mix_of_name = name.rpartition("@")
    model = service.model(name)
    if mix is not None:
        raise FieldError(
            f"mix {mix!r:.60} is given, and model names {mix_of_name!r:.60}; leave one of them out", "mix"
        )
    return model, mix_of_name


def checked_dimensions(model: ServedModel, fields: Fields) -> int | None:
    """Return how many numbers of each vector are asked for; None for all.

    Raises:
        FieldError: the model wasn't made for shorter vectors of this length.
    """
    number = fields.number("dimensions")
    if number is None or number in model.dimensions:
        return number
    only = " or ".join(map(str, model.dimensions))
    raise FieldError(
        f"dimensions {number} isn't a length that {model.name} was trained for; leave it out, or give {only}",
        "dimensions",
    )


def _embeddings(name: str, is_base64: bool, dimensions: int | None, answer: Vectors) -> Reply:
    values = answer.values[:, :dimensions]
    rows = base64_rows(values) if is_base64 else json_rows(values)
    usage = answer.usage
    rest = {
        "model": name,
        "usage": {"prompt_tokens": usage.tokens, "total_tokens": usage.tokens},
        **usage_fields(usage),
        **({"notes": list(answer.notes)} if answer.notes else {}),
    }
    data = b",".join(b'{"object":"embedding","index":%d,"embedding":%b}' % item for item in enumerate(rows))
    parts = [b'{"object":"list","data":[', data, b"],", json.dumps(rest).encode()[1:]]
    return joined_json(parts, usage_headers(usage))


def models(service: Service, call: HttpRequest) -> Reply:
    """List the models, with their layers, the mixes that requests can ask for, and their heads."""
    return as_json({"object": "list", "data": [_described(model) for model in service.models.values()]})


def one_model(service: Service, call: HttpRequest) -> Reply:
    """Describe a model; its name may have a mix after an @."""
    name = call.path["model"]
    plain = name if name in service.models else name.rpartition("@")[0] or name
    return as_json({**_described(service.model(plain)), "id": name})


def _described(model: ServedModel) -> dict[str, Any]:
    encoder = model.encoder
    return {
        "id": model.name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "layerwise",
        "layers": list(encoder.layers),
        "width": encoder.width,
        "max_length": encoder.max_length,
        "pool": encoder.default_pool,
        "mixes": list(_MIXES) if model.transform is None else [model.transform.fitted.mix],
        "transform": None if model.transform is None else model.transform.describe(),
        "heads": [
            {
                "name": name,
                "tasks": {
                    task.name: {
                        "task": task.task,
                        "mix": short_mix(str(task.mix)),
                        "classes": list(task.classes),
                    }
                    for task in head.task_heads
                },
                "path": f"/predict/{name}",
            }
            for name, head in model.heads.items()
        ],
    }


ROUTES = (
    InferenceRoute("/v1/embeddings", plan_embeddings, openai_error),
    PlainRoute("/v1/models", models, openai_error),
    PlainRoute("/v1/models/{model:path}", one_model, openai_error),
)
