"""`/layers` in every format, and `/predict/{head}`."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy

from serving_client import Served

TEXTS = ["Every layer of every encoder", "", "天气很好", "word " * 90]
ARROW, SAFETENSORS, NPY = (
    "application/vnd.apache.arrow.stream",
    "application/x-safetensors",
    "application/x-npy",
)
TOLERANCE = 1e-5


def close(vectors: Any, reference: Any) -> bool:
    vectors = np.asarray(vectors, np.float32)
    assert vectors.shape == reference.shape
    return bool(np.abs(vectors - reference).max() <= TOLERANCE * np.abs(reference).max())


def asked(served: Served, accept: str | None, **fields: Any) -> httpx.Response:
    headers = {} if accept is None else {"Accept": accept}
    response = served.client.post("/layers", json=fields, headers=headers)
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize("level", ["text", "word", "token"])
@pytest.mark.parametrize("layers", ["all", "-2:", [1, "emb"], 3])
def test_every_format_holds_the_layers_of_encode(
    served: Served, encoder_of: Callable[[str], Any], level: str, layers: Any
) -> None:
    states = encoder_of("bert").encode(TEXTS, layers, level)
    fields = {"inputs": TEXTS, "layers": layers, "level": level}
    response = asked(served, None, **fields)
    assert response.headers["content-type"] == ARROW
    with pa.ipc.open_stream(response.content) as reader:
        table = reader.read_all()
    assert table.select(states.index.column_names).to_pylist() == states.index.to_pylist()
    for name in states.layers:
        column = table[f"layer {name}"].combine_chunks()
        assert close(column.flatten().to_numpy().reshape(-1, states.width), states.layer(name))
    assert table.schema.metadata[b"layers"] == ",".join(states.layers).encode()
    assert int(table.schema.metadata[b"x-compute-tokens"]) == sum(states.texts["tokens"].to_pylist())
    tensors = safetensors.numpy.load(asked(served, SAFETENSORS, **fields).content)
    assert set(tensors) == set(states.layers)
    assert all(close(tensors[name], states.layer(name)) for name in states.layers)
    array = asked(served, NPY, **fields)
    assert close(np.load(io.BytesIO(array.content)), states.stack(states.layers))
    assert array.headers["x-layers"] == ",".join(states.layers)
    answer = asked(served, "application/json", **fields).json()
    assert list(answer["layers"]) == list(states.layers)
    assert all(close(answer["layers"][name], states.layer(name)) for name in states.layers)
    assert answer["index"] == states.index.to_pylist()
    assert (answer["truncated"], answer["truncated_texts"]) == (False, [])


def test_a_large_answer_comes_in_parts(served: Served, encoder_of: Callable[[str], Any]) -> None:
    texts = ["word " * 70] * 200
    states = encoder_of("bert").encode(texts, "3", "token")
    assert states.rows * states.width > 1 << 18
    response = asked(served, ARROW, inputs=texts, layers="3", level="token")
    assert "content-length" not in response.headers
    with pa.ipc.open_stream(response.content) as reader:
        batches = list(reader)
    assert len(batches) > 1
    column = pa.Table.from_batches(batches)["layer 3"].combine_chunks()
    assert close(column.flatten().to_numpy().reshape(-1, states.width), states.layer("3"))


def test_a_mix_has_one_column(served: Served, encoder_of: Callable[[str], Any], name: str) -> None:
    reference = encoder_of("bert").encode(TEXTS, level="word").mix("concat(1,2)")
    several: tuple[dict[str, Any], ...] = ({"mix": "concat(1,2)"}, {"model": f"{name}@concat(1,2)"})
    for fields in several:
        fields |= {"inputs": TEXTS, "level": "word"}
        assert close(np.load(io.BytesIO(asked(served, NPY, **fields).content)), reference)
        assert close(asked(served, "application/json", **fields).json()["mix"], reference)
        assert close(safetensors.numpy.load(asked(served, SAFETENSORS, **fields).content)["mix"], reference)
        table = pa.ipc.open_stream(asked(served, ARROW, **fields).content).read_all()
        column = table["mix"].combine_chunks()
        assert close(column.flatten().to_numpy().reshape(reference.shape), reference)


@pytest.mark.parametrize("kind", [ARROW, SAFETENSORS, NPY, "application/json"])
def test_every_format_says_how_a_mix_was_made(served: Served, kind: str) -> None:
    response = served.client.post(
        "/layers", json={"inputs": ["a b", "c"], "mix": "mean:1,2;norm=layer"}, headers={"Accept": kind}
    )
    assert response.status_code == 200, response.text
    assert "2 rows" in response.headers["x-notes"]
    if kind == ARROW:
        metadata = pa.ipc.open_stream(response.content).schema.metadata
        assert metadata[b"mix"] == b"mean(1,2; norm=layer)"
        assert metadata[b"x-notes"].decode() == response.headers["x-notes"]


def test_spans_have_rows(served: Served, encoder_of: Callable[[str], Any]) -> None:
    texts, spans = ["Every layer", "天气很好"], [[[0, 5], [6, 11]], [[0, 2]]]
    reference = encoder_of("bert").encode(
        texts, "2", "span", "first", spans=[[tuple(span) for span in row] for row in spans]
    )
    answer = asked(
        served, "application/json", inputs=texts, layers="2", level="span", pool="first", spans=spans
    ).json()
    assert close(answer["layers"]["2"], reference.layer("2"))
    assert answer["index"] == reference.index.to_pylist()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", ARROW),
        ("application/*", ARROW),
        ("text/html, application/json;q=0.9, */*;q=0.8", "application/json"),
        (f"{NPY};q=0.5, {SAFETENSORS}", SAFETENSORS),
        ("application/json;q=x, application/x-npy", NPY),
    ],
)
def test_accept_chooses_the_format(served: Served, accept: str, kind: str) -> None:
    assert asked(served, accept, inputs="a").headers["content-type"] == kind


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"inputs": "a", "layers": "9"}, 400, "layers '9': layer 9 doesn't exist"),
    ({"inputs": "a", "layers": {}}, 400, "give a layer string"),
    ({"inputs": "a", "layers": [True]}, 400, "give a layer string"),
    ({"inputs": "a", "layers": "1", "mix": "2"}, 400, "leave one of them out"),
    ({"inputs": "a", "level": "page"}, 400, "level 'page' doesn't exist"),
    ({"inputs": "a", "level": "span"}, 400, "spans go with level 'span'"),
    ({"inputs": "a", "level": "span", "spans": [[[0, 9]]]}, 400, "doesn't fit its 1 characters"),
    ({"inputs": "a", "level": "span", "spans": [[0, 1]]}, 400, "give a list of [start, end] for each"),
    ({"inputs": "a", "level": "span", "spans": []}, 400, "give a list of [start, end] for each"),
    ({"inputs": "a", "level": "token", "pool": "mean"}, 400, "doesn't fit level 'token'"),
]


@pytest.mark.parametrize(("fields", "status", "message"), REFUSED)
def test_what_layers_refuses(served: Served, fields: dict[str, Any], status: int, message: str) -> None:
    response = served.post("/layers", **fields)
    assert response.status_code == status
    assert message in response.json()["error"]["message"]


def test_a_format_that_does_not_exist_is_refused(served: Served) -> None:
    response = served.client.post("/layers", json={"inputs": "a"}, headers={"Accept": "image/png"})
    assert response.status_code == 406
    assert ARROW in response.json()["error"]["message"]


@pytest.mark.parametrize("head", ["mood", "number", "short", "names"])
def test_predict_answers_as_the_command_does(served: Served, heads: dict[str, Any], head: str) -> None:
    texts = ["Rome sleeps", "", "  ", "good and Paris. " * 30]
    answer = served.post(f"/predict/{head}", inputs=texts).json()
    expected = heads[head].predict(texts)
    assert json.dumps(rounded(answer["predictions"])) == json.dumps(rounded(expected))
    assert answer["tokens"] > 0
    assert answer["truncated"] is False
    one = served.post(f"/predict/{head}", inputs=texts[0]).json()
    assert rounded(one["predictions"]) == rounded(expected[:1])


def rounded(value: Any) -> Any:
    """JSON with numbers to four digits: neighbours in a forward change the last ones."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return {key: rounded(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_several_heads_answer_in_one_request(served: Served, heads: dict[str, Any]) -> None:
    """Also those that read texts in other windows."""
    texts = ["Rome sleeps", "good and Paris. " * 30]
    names = ["mood", "names", "short"]
    answer = served.post(f"/predict/{','.join(names)}", inputs=texts).json()["predictions"]
    expected = heads["mood"].predict(texts, heads=[heads["names"], heads["short"]])
    assert rounded(answer) == rounded(expected)


def test_predict_takes_words_and_pairs(served: Served, heads: dict[str, Any]) -> None:
    words = [["Rome", "sleeps", "."]]
    answer = served.post("/predict/names", inputs=words).json()["predictions"]
    assert rounded(answer) == rounded(heads["names"].predict(words))
    pairs = [["Rome", "good"], ["a", "b"]]
    answer = served.post("/predict/pair", inputs=pairs).json()["predictions"]
    assert rounded(answer) == rounded(heads["pair"].predict(pairs))


@pytest.mark.parametrize(
    ("path", "inputs", "status", "message"),
    [
        ("nobody", "a", 404, "head 'nobody' isn't served here; there are mood, number"),
        ("mood,nobody", "a", 404, "head 'nobody' isn't served here"),
        ("mood,mood", "a", 400, "2 heads are called 'mood'"),
        ("mood,pair", "a", 400, "texts of different kinds"),
        ("pair", ["a"], 400, "the head takes pairs"),
        ("mood", [{"text": "a"}], 400, "text 0 is a record"),
        ("mood", {"text": "a"}, 400, "text 0 is a record"),
        ("mood", [], 400, "there is no text"),
    ],
)
def test_what_predict_refuses(served: Served, path: str, inputs: Any, status: int, message: str) -> None:
    response = served.post(f"/predict/{path}", inputs=inputs)
    assert response.status_code == status
    assert message in response.json()["error"]["message"]
