"""The routes of Text Embeddings Inference: its fields, its defaults but for cutting, its errors."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from layerwise.arguments import offering
from layerwise.server.web import FIELDS
from serving_client import Served, serving

TEXTS = ["Every layer of every encoder", "天气很好", "word " * 90]
TOLERANCE = 1e-5


def close(vectors: Any, reference: Any) -> bool:
    vectors = np.asarray(vectors, np.float32)
    assert vectors.shape == reference.shape
    return bool(np.abs(vectors - reference).max() <= TOLERANCE * np.abs(reference).max())


def unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def mood_only(encoder_of: Callable[[str], Any], heads: dict[str, Any]) -> Iterator[Served]:
    with serving([encoder_of("bert")], [heads["mood"]]) as served:
        yield served


@pytest.fixture(scope="module")
def pairs_only(encoder_of: Callable[[str], Any], heads: dict[str, Any]) -> Iterator[Served]:
    with serving([encoder_of("bert")], [heads["pair"]]) as served:
        yield served


def test_embed_gives_the_last_layer_of_unit_length(served: Served, encoder_of: Callable[[str], Any]) -> None:
    reference = encoder_of("bert").encode(TEXTS).layer("-1")
    answer = served.post("/embed", inputs=TEXTS)
    assert close(answer.json(), unit(reference))
    assert close(served.post("/embed", inputs=TEXTS, normalize=False).json(), reference)
    assert close(served.post("/embed", inputs=TEXTS[0]).json(), unit(reference[:1]))
    assert answer.headers["x-truncated-texts"] == "0", "in windows unless cutting is asked for"
    assert int(answer.headers["x-compute-tokens"]) > 90
    assert {"x-total-time", "x-queue-time", "x-inference-time"} <= set(answer.headers)


@pytest.mark.parametrize("direction", ["Left", "Right", "right", None])
def test_texts_are_cut_at_the_end_that_is_asked_for(
    served: Served, encoder_of: Callable[[str], Any], direction: str | None
) -> None:
    text = "a . " * 40 + ": ! " * 40  # each character is a token, wherever it is cut
    encoder = encoder_of("bert")
    tokens = encoder.tokenizer.texts([text])[0]
    room = encoder.max_length - 2
    body = tokens.starts[1 : 1 + room], tokens.ends[1 : 1 + room]
    kept = text[body[0][0] : body[1][-1]]
    if direction == "Left":
        kept = text[tokens.starts[len(tokens) - 1 - room] :]
    options = {} if direction is None else {"truncation_direction": direction}
    answer = served.post("/embed", inputs=text, truncate=True, normalize=False, **options)
    assert answer.headers["x-truncated-texts"] == "1"
    assert answer.headers["x-truncated-tokens"] == str(len(tokens) - encoder.max_length)
    assert close(answer.json(), encoder.encode([kept]).layer("-1"))


def test_embed_all_gives_every_token(served: Served, encoder_of: Callable[[str], Any]) -> None:
    states = encoder_of("bert").encode(TEXTS, "-1", "token")
    answer = served.post("/embed_all", inputs=TEXTS).json()
    assert len(answer) == 3
    for number, rows in enumerate(answer):
        assert close(rows, states.layer("-1", rows=states.where(doc=number)))


def test_tokenize_is_the_model_s_tokenizer(served: Served, encoder_of: Callable[[str], Any]) -> None:
    states = encoder_of("bert").encode(TEXTS[:2], "emb", "token")
    answer = served.post("/tokenize", inputs=TEXTS[:2]).json()
    assert [token["id"] for tokens in answer for token in tokens] == states.index["token_id"].to_pylist()
    for text, tokens in zip(TEXTS[:2], answer, strict=True):
        assert [token["text"] for token in (tokens[0], tokens[-1])] == ["[CLS]", "[SEP]"]
        assert all(token["special"] and token["start"] is None for token in (tokens[0], tokens[-1]))
        assert all(token["text"] == text[token["start"] : token["stop"]] for token in tokens[1:-1])
    bare = served.post("/tokenize", inputs=TEXTS[0], add_special_tokens=False).json()
    assert bare == [answer[0][1:-1]]


def test_info_says_what_is_served(served: Served, name: str) -> None:
    info = served.client.get("/info").json()
    assert info["model_id"] == name
    assert info["model_dtype"] == "float32"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["auto_truncate"] is False
    assert info["max_client_batch_size"] == 2048
    assert info["max_input_length"] == 80


def test_predict_has_the_classes_of_the_only_head(mood_only: Served, heads: dict[str, Any]) -> None:
    expected = heads["mood"].predict(["Rome sleeps", "good"])
    one = mood_only.post("/predict", inputs="Rome sleeps").json()
    assert {entry["label"]: entry["score"] for entry in one} == pytest.approx(
        expected[0]["probabilities"], abs=1e-5
    )
    assert [entry["score"] for entry in one] == sorted((entry["score"] for entry in one), reverse=True)
    several = mood_only.post("/predict", inputs=[["Rome sleeps"], ["good"]]).json()
    assert [entries[0]["label"] for entries in several] == [answer["label"] for answer in expected]
    assert mood_only.post("/predict", inputs=["good"]).json() == several[1], "one text in a list is one text"
    error = mood_only.post("/predict", inputs=["Rome", "good"])
    assert error.status_code == 422
    assert "put each into a list of its own" in error.json()["error"]


def test_predict_takes_pairs(pairs_only: Served, heads: dict[str, Any]) -> None:
    (expected,) = heads["pair"].predict([("Rome sleeps", "good")])
    answer = pairs_only.post("/predict", inputs=["Rome sleeps", "good"]).json()
    assert {entry["label"]: entry["score"] for entry in answer} == pytest.approx(
        expected["probabilities"], abs=1e-5
    )
    assert len(pairs_only.post("/predict", inputs=[["a", "b"], ["c", "d"]]).json()) == 2
    assert pairs_only.post("/predict", inputs="a").status_code == 422


def test_predict_of_several_heads_names_their_paths(served: Served) -> None:
    error = served.post("/predict", inputs="a")
    assert error.status_code == 422
    assert "/predict/{head}: /predict/mood, /predict/number" in error.json()["error"]


REFUSED: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("/embed", {"inputs": []}, 400, "Empty", "at least one text"),
    ("/embed", {"inputs": [1, 2]}, 422, "Validation", "numbers of tokens"),
    ("/embed", {}, 422, "Validation", "missing"),
    ("/embed", {"inputs": ["a"] * 2049}, 413, "Validation", "may have 2048"),
    ("/embed", {"inputs": "a", "truncation_direction": "Up"}, 422, "Validation", "choose Left or Right"),
    (
        "/embed",
        {"inputs": "a", "prompt_name": "query"},
        422,
        "Validation",
        "it has none; leave prompt_name out",
    ),
    ("/embed", {"inputs": "a", "dimensions": 7}, 422, "Validation", "dimensions 7"),
    ("/embed_all", {"inputs": {"a": 1}}, 422, "Validation", "inputs is an object"),
    ("/tokenize", {"inputs": "a", "prompt_name": "query"}, 422, "Validation", "leave prompt_name out"),
]


@pytest.mark.parametrize(("path", "fields", "status", "kind", "message"), REFUSED)
def test_errors_have_the_shape_of_tei(
    served: Served, path: str, fields: dict[str, Any], status: int, kind: str, message: str
) -> None:
    with offering(FIELDS):  # as `layerwise serve` does
        response = served.post(path, **fields)
    assert response.status_code == status
    assert set(response.json()) == {"error", "error_type"}
    assert response.json()["error_type"] == kind
    assert message in response.json()["error"]
