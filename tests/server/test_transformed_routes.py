"""A server with a transform: every mix that it gives is made small, and other mixes are refused."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pyarrow as pa
import pytest
from safetensors.numpy import load

import layerwise as lw
from layerwise.errors import RequestError
from layerwise.serving.service import Service
from serving_client import Served, serving
from waiting import SECONDS

TEXTS = ["Every layer of every encoder", "天气很好", "word " * 90]
MIX = "mean(1,2)"
KINDS = ("binary", "int8", "pca:5")


@pytest.fixture(scope="module")
def exports(encoder_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of a transform of each kind, fitted on some texts, and of one with another level, head or norm."""
    room = tmp_path_factory.mktemp("transforms")
    texts = [
        f"{a} {b} {n}" for n in range(4) for a in ("Rome", "good", "天气") for b in ("sleeps", "Paris", "bad")
    ]
    records = [{"text": text, "label": "ab"[n % 2]} for n, text in enumerate(texts)]
    dataset = lw.extract(records, room / "d.lw", model=encoder_of("bert"), pool="max")
    tokens = lw.extract(records, room / "t.lw", model=encoder_of("bert"), level="token")
    head = lw.train(dataset, task="classify", label="label", mix="1", out=room / "a.head")
    for kind in KINDS:
        lw.export(dataset, room / kind, to=kind, mix=MIX)
    lw.export(tokens, room / "token", to="binary", mix=MIX)
    lw.export(dataset, room / "head", to="binary", mix=head)
    with pytest.warns(UserWarning, match="statistics of these rows"):
        lw.export(dataset, room / "norm", to="binary", mix="mean(1,2; norm=layer)")
    return {kind: room / kind / "transform.safetensors" for kind in (*KINDS, "token", "head", "norm")}


@pytest.fixture(scope="module", params=KINDS)
def served_small(
    request: pytest.FixtureRequest, exports: dict[str, Path], encoder_of: Callable[[str], Any]
) -> Iterator[tuple[Served, lw.Transform]]:
    """A server of two models, the first with a transform of each kind in turn."""
    transform = lw.load_transform(exports[request.param])
    with serving([encoder_of("bert"), encoder_of("mpnet")], transform=transform) as served:
        yield served, transform


def expected(transform: lw.Transform, encoder: Any) -> Any:
    return transform(encoder.encode(TEXTS, pool="max").mix(MIX))


def close(got: Any, reference: Any, transform: lw.Transform) -> bool:
    """Whether vectors agree but for rounding, which may move a number across 0 or to the next code."""
    got = np.asarray(got)
    assert got.shape == reference.shape
    if transform.kind == "binary":
        differ = np.unpackbits(got.astype(np.uint8)) != np.unpackbits(reference)
        return bool(differ.mean() <= 0.02)
    most = 1 if transform.kind == "int8" else 1e-4 * np.abs(reference).max()
    return bool(np.abs(got.astype(np.float64) - reference).max() <= most)


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("mix", [None, "mean(1,2)", "mean:-3,-2"])
def test_the_client_of_openai_gets_small_vectors(
    served_small: tuple[Served, lw.Transform],
    encoder_of: Callable[[str], Any],
    mix: str | None,
    encoding: Any,
) -> None:
    served, transform = served_small
    name = served.service.first.name
    with openai.OpenAI(base_url=f"{served.http.url}v1", api_key="none", timeout=SECONDS) as client:
        model = name if mix is None else f"{name}@{mix}"
        answer = client.embeddings.create(model=model, input=TEXTS, encoding_format=encoding)
    vectors: list[Any] = [entry.embedding for entry in answer.data]
    if encoding == "base64":
        vectors = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in vectors]
    assert close(vectors, expected(transform, encoder_of("bert")), transform)


def test_embed_gives_them_as_they_are(
    served_small: tuple[Served, lw.Transform], encoder_of: Callable[[str], Any]
) -> None:
    served, transform = served_small
    reference = expected(transform, encoder_of("bert"))
    assert close(served.post("/embed", inputs=TEXTS).json(), reference, transform)
    assert close(served.post("/embed", inputs=TEXTS, normalize=False).json(), reference, transform)
    answer = served.post("/embed", inputs=TEXTS, normalize=True)
    assert answer.status_code == 422
    assert "normalize doesn't go with the transform of this server" in answer.json()["error"]
    assert served.post("/embed", inputs=TEXTS, dimensions=transform.numbers).status_code == 200
    assert "give" in served.post("/embed", inputs=TEXTS, dimensions=transform.numbers - 1).json()["error"]


def test_a_mix_of_layers_has_the_type_of_its_numbers(
    served_small: tuple[Served, lw.Transform], encoder_of: Callable[[str], Any]
) -> None:
    served, transform = served_small
    reference = expected(transform, encoder_of("bert"))
    body = {"inputs": TEXTS, "mix": MIX}

    def asked_as(kind: str) -> Any:
        return served.client.post("/layers", json=body, headers={"accept": kind})

    array = np.load(io.BytesIO(asked_as("application/x-npy").content))
    assert array.dtype == transform.dtype
    assert close(array, reference, transform)
    tensor = load(asked_as("application/x-safetensors").content)["mix"]
    column = pa.ipc.open_stream(asked_as("application/vnd.apache.arrow.stream").content).read_all()["mix"]
    rows = asked_as("application/json").json()["mix"]
    assert tensor.dtype == transform.dtype
    for got in (tensor, column.to_pylist(), rows):
        np.testing.assert_allclose(got, array, rtol=1e-4, atol=1e-5)
    assert (transform.kind == "pca") == isinstance(rows[0][0], float), "codes are whole numbers in JSON too"


def test_layers_are_given_whole(
    served_small: tuple[Served, lw.Transform], encoder_of: Callable[[str], Any]
) -> None:
    served, _ = served_small
    answer = served.post("/layers", inputs=TEXTS, layers="1", pool="max").content
    got = np.array(pa.ipc.open_stream(answer).read_all()["layer 1"].to_pylist())
    np.testing.assert_allclose(got, encoder_of("bert").encode(TEXTS, pool="max").layer("1"), atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mix": "3"}, "mix 3 is asked for, and the transform of this server is of mix mean(1,2)"),
        (
            {"mix": "concat(1,2)"},
            "mix concat(1,2) is asked for, and the transform of this server is of mix mean(1,2)",
        ),
        (
            {"mix": MIX, "pool": "cls"},
            "pool cls is asked for, and the transform of this server is of pool max",
        ),
        (
            {"mix": MIX, "level": "token"},
            "level token is asked for, and the transform of this server is of level text",
        ),
    ],
)
def test_vectors_of_another_kind_are_refused_with_both(
    served_small: tuple[Served, lw.Transform], fields: dict[str, str], says: str
) -> None:
    served, _ = served_small
    answer = served.post("/layers", inputs="a text", **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(says)
    assert answer.json()["error"]["param"] == says.split()[0]


def test_a_transform_of_another_width_is_refused_at_the_start(
    exports: dict[str, Path], encoder_of: Callable[[str], Any]
) -> None:
    """Of a model that isn't known, as that of rows in memory may be."""
    transform = lw.load_transform(exports["binary"])
    foreign = replace(transform, mean=transform.mean[:7], fitted=replace(transform.fitted, hashes=None))
    says = f"^transform takes 7 numbers, and {re.escape(repr(MIX))} of '.*' has 32; give the transform of an export"
    with pytest.raises(RequestError, match=says):
        Service([encoder_of("bert")], transform=foreign)


def test_the_transform_is_told(served_small: tuple[Served, lw.Transform]) -> None:
    served, transform = served_small
    told = served.client.get("/info").json()["transform"]
    assert told == transform.describe()
    assert (told["kind"], told["mix"], told["width"], told["numbers"]) == (
        *(transform.kind, MIX, 32, transform.numbers),
    )
    first, second = served.client.get("/v1/models").json()["data"]
    assert (first["transform"], first["mixes"]) == (told, [MIX])
    assert second["transform"] is None
    assert f'<input id="mix" value="{MIX}"' in served.client.get("/").text, (
        "the form tries what isn't refused"
    )
    assert len(second["mixes"]) > 1


def test_other_models_are_served_without_it(
    served_small: tuple[Served, lw.Transform], encoder_of: Callable[[str], Any]
) -> None:
    served, _ = served_small
    other = list(served.service.models)[1]
    answer = served.post("/v1/embeddings", input=TEXTS, model=f"{other}@2").json()
    got = np.array([entry["embedding"] for entry in answer["data"]])
    np.testing.assert_allclose(got, encoder_of("mpnet").encode(TEXTS).mix("2"), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "model", "says"),
    [
        (
            "binary",
            "mpnet",
            r"^transform is of the model '.*', and these are served: .*; serve that model, or leave",
        ),
        (
            "head",
            "bert",
            r"^transform is of the trained mix of a head \(1\), and a server gives mixes without heads",
        ),
        (
            "norm",
            "bert",
            r"^transform is of the mix 'mean\(1,2; norm=layer\)', which standardises with statistics of",
        ),
    ],
)
def test_a_transform_that_cannot_be_served_is_refused(
    exports: dict[str, Path], encoder_of: Callable[[str], Any], kind: str, model: str, says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        Service([encoder_of(model)], transform=lw.load_transform(exports[kind]))


def test_rows_of_tokens_have_a_transform_of_their_own(
    exports: dict[str, Path], encoder_of: Callable[[str], Any]
) -> None:
    transform = lw.load_transform(exports["token"])
    with serving([encoder_of("bert")], transform=transform) as served:
        answer = served.client.post(
            "/layers",
            json={"inputs": TEXTS, "mix": MIX, "level": "token"},
            headers={"accept": "application/x-npy"},
        )
        refused = served.post("/v1/embeddings", input="a text").json()["error"]["message"]
    reference = transform(encoder_of("bert").encode(TEXTS, level="token").mix(MIX))
    assert close(np.load(io.BytesIO(answer.content)), reference, transform)
    assert refused.startswith("level text is asked for, and the transform of this server is of level token")
