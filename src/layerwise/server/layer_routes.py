"""`/layers` and `/predict/{head}`: what only this server has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from layerwise.layers import short_mix
from layerwise.mixes import parse_mix
from layerwise.server.exchange import (
    JSON,
    HttpRequest,
    InferenceRoute,
    Planned,
    Reply,
    as_json,
    joined_json,
    usage_fields,
    usage_headers,
)
from layerwise.server.failures import Refusal, openai_error
from layerwise.server.fields import FieldError, Fields
from layerwise.server.openai_routes import named
from layerwise.server.render import (
    arrow_parts,
    check_finite,
    json_matrix,
    npy_matrix,
    npy_parts,
    safetensors_parts,
)
from layerwise.serving.asks import EncodeAsk, HeadAnswers, LayerVectors, Vectors
from layerwise.serving.service import Service
from layerwise.states import LayerStates

ARROW, SAFETENSORS, NPY = (
    "application/vnd.apache.arrow.stream",
    "application/x-safetensors",
    "application/x-npy",
)
_KINDS = (ARROW, SAFETENSORS, NPY, JSON)
FIELDS = ("inputs", "model", "layers", "mix", "level", "pool", "spans", "truncate", "prompt_name")
_PREDICT_FIELDS = ("inputs", "truncate")


def plan_layers(service: Service, call: HttpRequest) -> Planned:
    """Admit a request for layers, or for a mix of them."""
    kind = accepted(call.headers.get("accept", "*/*"))
    fields = Fields(call.body, FIELDS)
    texts, is_batch = fields.texts("inputs")
    model, mix = named(service, fields)
    if mix is not None and "layers" in fields:
        raise FieldError("layers and a mix are both given; leave one of them out", "layers")
    ask = EncodeAsk(
        layers=layers_of(fields),
        mix=mix,
        level=fields.text("level") or "text",
        pool=fields.text("pool"),
        spans=fields.spans("spans", len(texts)),
        prompt_name=fields.text("prompt_name"),
        truncate=fields.flag("truncate"),
    )
    if mix is not None:
        planned = model.mix(texts, ask)
        name = short_mix(str(parse_mix(mix, model.encoder.blocks)))
        return Planned(planned, partial(_mix_reply, kind, name), is_batch)
    return Planned(model.encode(texts, ask), partial(_layers_reply, kind), is_batch)


def layers_of(fields: Fields) -> Any:
    """Return the layers of a request: a layer string, a number, or a list of these; all by default."""
    layers = fields.any("layers") if "layers" in fields else "all"
    items = layers if isinstance(layers, list) else [layers]
    if all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
        return layers
    raise FieldError(
        "layers has another form; give a layer string, such as 'all' or '-4:', a number, or a list of these",
        "layers",
    )


def accepted(header: str) -> str:
    """Return the format that an `Accept` header prefers, an Arrow stream where it leaves the choice.

    Raises:
        Refusal: none of the formats is accepted.
    """
    best, best_quality = None, 0.0
    for item in header.split(","):
        kind, quality = _preference(item)
        match = next((name for name in _KINDS if kind in (name, name.split("/")[0] + "/*", "*/*")), None)
        if match is not None and quality > best_quality:
            best, best_quality = match, quality
    if best is None:
        raise Refusal(
            406, "not_acceptable", f"Accept names no format of /layers; there are {', '.join(_KINDS)}"
        )
    return best


def _preference(item: str) -> tuple[str, float]:
    kind, *parameters = (part.strip().lower() for part in item.split(";"))
    quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return kind, float(quality)
    except ValueError:
        return kind, 0.0


def _layers_reply(kind: str, answer: LayerVectors) -> Reply:
    states, headers = answer.states, usage_headers(answer.usage)
    metadata = {
        **headers,
        "layers": ",".join(states.layers),
        "level": states.level,
        "pool": states.pool or "",
    }
    layers = {name: check_finite(states.layer(name, raw=True)) for name in states.layers}
    if kind == JSON:
        matrices = {name: json_matrix(values) for name, values in layers.items()}
        return _json_reply(b"layers", _object(matrices), states, usage_fields(answer.usage), headers)
    parts = {
        ARROW: partial(
            arrow_parts, states.index, {f"layer {name}": layers[name] for name in layers}, metadata
        ),
        NPY: partial(npy_parts, layers),
        SAFETENSORS: partial(safetensors_parts, layers, metadata),
    }
    return Reply(parts[kind](), kind, headers={**headers, "x-layers": ",".join(states.layers)})


def _mix_reply(kind: str, mix: str, answer: Vectors) -> Reply:
    headers = usage_headers(answer.usage)
    if answer.notes:
        headers["x-notes"] = " ".join(map(str, answer.notes)).encode("ascii", "replace").decode()
    states, values = answer.states, check_finite(answer.values)
    if kind == JSON:
        rest = {**usage_fields(answer.usage), "notes": list(answer.notes)}
        return _json_reply(b"mix", json_matrix(values), states, rest, headers)
    metadata = {**headers, "mix": mix, "level": states.level, "pool": states.pool or ""}
    parts: Mapping[str, Callable[[], Any]] = {
        ARROW: partial(arrow_parts, states.index, {"mix": values}, metadata),
        NPY: partial(npy_matrix, values),
        SAFETENSORS: partial(safetensors_parts, {"mix": values}, metadata),
    }
    return Reply(parts[kind](), kind, headers=headers)


def _json_reply(
    name: bytes, vectors: bytes, states: LayerStates, rest: Mapping[str, Any], headers: Mapping[str, str]
) -> Reply:
    index = json.dumps({**rest, "index": states.index.to_pylist()}).encode()
    return joined_json([b'{"%b":' % name, vectors, b",", index[1:]], headers)


def _object(parts: Mapping[str, bytes]) -> bytes:
    return (
        b"{" + b",".join(b"%b:%b" % (json.dumps(key).encode(), value) for key, value in parts.items()) + b"}"
    )


def plan_predict(service: Service, call: HttpRequest) -> Planned:
    """Admit a request for the answers of one head, or of several that are separated by commas."""
    names = call.path["head"].split(",")
    fields = Fields(call.body, _PREDICT_FIELDS)
    inputs = fields.any("inputs")
    is_batch = isinstance(inputs, list)
    ask = EncodeAsk(truncate=fields.flag("truncate"))
    model = service.model_of(names)
    return Planned(model.predict(names, inputs if is_batch else [inputs], ask), _predictions, is_batch)


def _predictions(answer: HeadAnswers) -> Reply:
    value = {"predictions": list(answer.answers), **usage_fields(answer.usage)}
    return as_json(value, headers=usage_headers(answer.usage))


ROUTES = (
    InferenceRoute("/layers", plan_layers, openai_error),
    InferenceRoute("/predict/{head}", plan_predict, openai_error),
)
