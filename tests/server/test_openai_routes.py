"""`/v1/embeddings` and `/v1/models`, by OpenAI's own client."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import openai
import pytest

from conftest import CORPUS
from serving_client import Served
from waiting import SECONDS

TEXTS = ["Every layer of every encoder", "", "天气很好", "word " * 90]
# The same bits unless another request shares the forward, whose products round otherwise.
TOLERANCE = 1e-5


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{served.http.url}v1", api_key="none", timeout=SECONDS, max_retries=0
    ) as client:
        yield client


def close(vectors: Any, reference: Any) -> bool:
    vectors, reference = np.asarray(vectors, np.float32), np.asarray(reference)
    assert vectors.shape == reference.shape
    return bool(np.abs(vectors - reference).max() <= TOLERANCE * np.abs(reference).max())


@pytest.mark.parametrize("encoding", ["float", "base64", None])
@pytest.mark.parametrize("mix", ["-1", "emb", "mean(-4:)", "concat(1,3)", "weighted(1,2; 0.5,2)", "sum:1:"])
def test_the_client_gets_the_vectors_of_encode(
    client: openai.OpenAI, encoder_of: Callable[[str], Any], name: str, encoding: Any, mix: str
) -> None:
    options = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(model=f"{name}@{mix}", input=TEXTS, **options)
    reference = encoder_of("bert").encode(TEXTS).mix(mix)
    vectors: list[Any] = [entry.embedding for entry in answer.data]
    if encoding == "base64":  # asked for by name, the client leaves it as it is
        vectors = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in vectors]
    assert close(vectors, reference)
    assert [entry.index for entry in answer.data] == [0, 1, 2, 3]
    assert answer.model == f"{name}@{mix}"
    tokens = sum(encoder_of("bert").encode(TEXTS, "emb").texts["tokens"].to_pylist())
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == tokens


def test_the_last_layer_is_the_default_and_is_not_normalised(
    client: openai.OpenAI, encoder_of: Callable[[str], Any], name: str
) -> None:
    vector = client.embeddings.create(model=name, input=TEXTS[0]).data[0].embedding
    assert close(vector, encoder_of("bert").encode(TEXTS[:1]).layer("-1")[0])
    assert abs(np.linalg.norm(vector) - 1) > 0.1


def test_our_fields_choose_mix_pool_and_cutting(
    client: openai.OpenAI, encoder_of: Callable[[str], Any], name: str
) -> None:
    extra = {"mix": "2", "pool": "max", "truncate": True}
    answer = client.embeddings.create(model=name, input=TEXTS, extra_body=extra)
    states = encoder_of("bert").encode(TEXTS, "2", pool="max", long="truncate")
    assert close([entry.embedding for entry in answer.data], states.layer("2"))
    fields = answer.model_extra
    assert fields is not None
    assert (fields["truncated"], fields["truncated_texts"]) == (True, [3])
    assert fields["tokens"] == sum(states.texts["tokens"].to_pylist())


def test_long_texts_go_through_in_windows(served: Served, encoder_of: Callable[[str], Any]) -> None:
    answer = served.post("/v1/embeddings", input="word " * 300).json()
    assert (answer["truncated"], answer["truncated_texts"], answer["tokens"]) == (False, [], 302)
    reference = encoder_of("bert").encode(["word " * 300]).layer("-1")
    assert close([answer["data"][0]["embedding"]], reference)


def test_a_second_model_has_its_own_vectors(
    client: openai.OpenAI, served: Served, encoder_of: Callable[[str], Any]
) -> None:
    second = list(served.service.models)[1]
    answer = client.embeddings.create(model=f"{second}@2", input=TEXTS)
    assert close([entry.embedding for entry in answer.data], encoder_of("mpnet").encode(TEXTS).layer("2"))


def test_statistics_of_the_request_are_told(served: Served, encoder_of: Callable[[str], Any]) -> None:
    answer = served.post("/v1/embeddings", input=CORPUS, mix="mean(-4:; norm=layer)").json()
    states = encoder_of("bert").encode(CORPUS)
    reference = states.mix("mean(-4:; norm=layer)", stats=states.mix_stats("mean(-4:; norm=layer)"))
    assert close([entry["embedding"] for entry in answer["data"]], reference)
    assert answer["notes"] == [
        "mean(emb,1,2,3; norm=layer): each layer is standardised with the statistics of the 16 rows of this request, not of "
        "training rows."
    ]


REFUSED: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({}, 400, "'input' is missing", "input"),
    ({"input": 3}, 400, "input is a number; give a string or a list of strings", "input"),
    ({"input": [1, 2]}, 400, "check_embedding_ctx_length=False", "input"),
    ({"input": [[1, 2], [3]]}, 400, "check_embedding_ctx_length=False", "input"),
    ({"input": ["a", None]}, 400, "item 1 is null", "input"),
    ({"input": []}, 400, "there is no text", None),
    ({"input": ["a"] * 2049}, 413, "2049 texts and may have 2048", None),
    ({"input": "a", "model": "gpt"}, 404, "model 'gpt' isn't served here", "model"),
    ({"input": "a", "model": "gpt@3"}, 404, "model 'gpt' isn't served here", "model"),
    ({"input": "a", "mix": "9"}, 400, "mix '9': layer 9 doesn't exist; there are emb, 1, 2, 3", "mix"),
    ({"input": "a", "mix": "learned(all)"}, 400, "is fitted with a head", "mix"),
    ({"input": "a", "pool": "median"}, 400, "pool 'median' doesn't exist", "pool"),
    ({"input": "a", "dimensions": 16}, 400, "dimensions 16 isn't a length", "dimensions"),
    ({"input": "a", "dimensions": True}, 400, "dimensions is true or false", "dimensions"),
    ({"input": "a", "encoding_format": "int8"}, 400, "choose one of float, base64", "encoding_format"),
    ({"input": "a", "truncate": "yes"}, 400, "truncate is a string; give true or false", "truncate"),
    ({"input": "a", "mx": "3"}, 400, "there is no field 'mx'; there are input, model", "mx"),
]


@pytest.mark.parametrize(("fields", "status", "message", "parameter"), REFUSED)
def test_an_error_says_what_to_do(
    served: Served, fields: dict[str, Any], status: int, message: str, parameter: str | None
) -> None:
    response = served.post("/v1/embeddings", **fields)
    error = response.json()["error"]
    assert response.status_code == status
    assert message in error["message"]
    assert error["param"] == parameter
    assert error["type"] == "invalid_request_error"
    assert error["code"]


def test_a_mix_is_named_once(served: Served, name: str) -> None:
    response = served.post("/v1/embeddings", input="a", model=f"{name}@2", mix="3")
    assert response.status_code == 400
    assert "leave one of them out" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"a"', b"\xff", b'{"input": NaN}', b"[" * 100_000, b"1" * 5000]
)
def test_a_body_that_is_no_object_is_refused(served: Served, body: bytes) -> None:
    response = served.client.post("/v1/embeddings", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("the body is ")


def test_the_client_raises_our_errors(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.BadRequestError, match="layer 7 doesn't exist"):
        client.embeddings.create(model=f"{name}@7", input="a")
    with pytest.raises(openai.NotFoundError, match="isn't served here"):
        client.embeddings.create(model="text-embedding-3-small", input="a")


def test_dimensions_of_the_model_are_allowed(served: Served) -> None:
    width = served.service.first.encoder.width
    answer = served.post("/v1/embeddings", input="a", dimensions=width).json()
    assert len(answer["data"][0]["embedding"]) == width


def test_models_are_listed_with_their_layers_and_heads(
    client: openai.OpenAI, served: Served, name: str
) -> None:
    listed = list(client.models.list())
    assert [model.id for model in listed] == list(served.service.models)
    first = listed[0].model_extra or {}
    assert first["layers"] == ["emb", "1", "2", "3"]
    assert [head["path"] for head in first["heads"]] == [
        f"/predict/{head}" for head in ("mood", "number", "short", "pair", "names")
    ]
    assert first["heads"][0]["tasks"]["label"] == {
        "task": "classify",
        "mix": "mean(1,2)",
        "classes": ["a", "b", "c"],
    }
    assert client.models.retrieve(f"{name}@mean(-4:)").id == f"{name}@mean(-4:)"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
