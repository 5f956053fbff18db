"""Datasets with sites, from extraction to heads: those of grouped heads have a width of their own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from causal_models import make_causal
from layerwise.cli.main import main
from layerwise.errors import RequestError
from pages import held
from stored import contents

SPEC = "all,value.1:,attention.2,mlp.-1"
LAYERS = ("emb", "value.1", "1", "value.2", "attention.2", "2", "value.3", "mlp.3", "3")
TEXTS = [
    f"{word} text number {n}" for n, word in enumerate(["good", "bad", "fine", "poor", "great", "awful"] * 8)
]
# Half a unit in the last place of float16, relative to the largest number of a row, which is below 8.
HALF = 2.0**-11 * 8


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return lw.load_encoder(make_causal("llama", tmp_path_factory.mktemp("llama")), device="cpu")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "texts.csv"
    labels = ["pos", "neg"] * (len(TEXTS) // 2)
    rows = (f"{text},{label}" for text, label in zip(TEXTS, labels, strict=True))
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def dataset(encoder: Any, source: Path, tmp_path_factory: pytest.TempPathFactory) -> lw.LayerDataset:
    return lw.extract(source, tmp_path_factory.mktemp("d") / "d", model=encoder, layers=SPEC, shard_texts=20)


def test_rows_are_those_of_the_encoder(dataset: lw.LayerDataset, encoder: Any) -> None:
    assert dataset.layers == LAYERS
    assert dataset.width == 32
    assert dataset.widths == {name: 16 if name.startswith("value") else 32 for name in LAYERS}
    assert dataset.manifest.widths == {"value.1": 16, "value.2": 16, "value.3": 16}
    states = encoder.encode(TEXTS, SPEC)
    for name in LAYERS:
        np.testing.assert_allclose(dataset.layer(name), states.layer(name), atol=HALF)
        assert dataset.layer(name, rows=[3, 1]).shape == (2, dataset.widths[name])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_every_stored_type(dtype: str, encoder: Any, source: Path, tmp_path: Path) -> None:
    stored = lw.extract(source, tmp_path / "d", model=encoder, layers="value.1,1", dtype=dtype)
    exact = encoder.encode(TEXTS, "value.1,1")
    for name in ("value.1", "1"):
        assert np.abs(stored.layer(name) - exact.layer(name)).max() < {"float32": 1e-6}.get(dtype, 0.05)


def test_a_dataset_without_sites_says_nothing_of_widths(encoder: Any, source: Path, tmp_path: Path) -> None:
    dataset = lw.extract(source, tmp_path / "d", model=encoder, layers="attention.1,all")
    assert dataset.layers == ("emb", "attention.1", "1", "2", "3")
    assert "widths" not in json.loads((tmp_path / "d" / "manifest.json").read_text())


def test_it_is_verified_against_plain_transformers(
    dataset: lw.LayerDataset, encoder: Any, source: Path, tmp_path: Path
) -> None:
    result = lw.verify(dataset.path, sample=4)
    assert result.ok
    assert result.parity is not None
    assert set(result.parity) == set(LAYERS)
    wrong = lw.extract(source, tmp_path / "d", model=encoder, layers="value.1,value.2", dtype="float32")
    # The layers change their names: both have the same shape.
    for path in [*(tmp_path / "d" / "shards").glob("*.safetensors")]:
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"value.1"', b'"value.X"').replace(b'"value.2"', b'"value.1"'))
    assert not lw.verify(wrong.path, sample=4).ok


def test_append_and_shares_give_the_same_bytes(
    dataset: lw.LayerDataset, encoder: Any, source: Path, tmp_path: Path
) -> None:
    lines = source.read_text().splitlines(keepends=True)
    grown = tmp_path / source.name
    grown.write_text("".join(lines[:21]))
    options: dict[str, Any] = {"model": encoder, "layers": SPEC, "shard_texts": 20}
    lw.extract(grown, tmp_path / "grown", **options)
    grown.write_text("".join(lines))
    appended = lw.extract(grown, tmp_path / "grown", append=True, **options)
    assert appended.widths == dataset.widths
    for name in LAYERS:
        assert np.array_equal(appended.layer(name), dataset.layer(name))
    folder = encoder.checkpoint.name
    for index in (0, 1):
        command = [
            "extract",
            str(source),
            "--out",
            str(tmp_path / "shares"),
            "--model",
            folder,
            "--layers",
            SPEC,
        ]
        shares = ["--shard-texts", "20", "--num-workers", "2", "--worker-index", str(index), "--quiet"]
        assert main([*command, *shares]) == 0
    assert main(["finish", str(tmp_path / "shares")]) == 0
    tensors = {name: data for name, data in contents(dataset.path).items() if name.endswith(".safetensors")}
    assert tensors
    assert {name: contents(tmp_path / "shares")[name] for name in tensors} == tensors
    merged = lw.merge([dataset, appended], tmp_path / "merged")
    assert merged.widths == dataset.widths
    assert len(merged.layer("value.2")) == 2 * len(TEXTS)


def test_pooled_tokens_are_the_texts(encoder: Any, source: Path, tmp_path: Path) -> None:
    tokens = lw.extract(
        source, tmp_path / "t", model=encoder, layers="2,value.2", level="token", dtype="float32"
    )
    pooled = lw.pool(tokens, tmp_path / "p", level="text", pool="mean")
    states = encoder.encode(TEXTS, "2,value.2")
    for name in ("2", "value.2"):
        np.testing.assert_allclose(pooled.layer(name), states.layer(name), atol=1e-5)
    assert pooled.widths == {"value.2": 16, "2": 32}


def test_export_has_each_width(dataset: lw.LayerDataset, tmp_path: Path) -> None:
    lw.export(dataset, to="npy", out=tmp_path / "npy", layers="2,value.2")
    assert np.array_equal(np.load(tmp_path / "npy" / "value.2.npy"), dataset.layer("value.2"))
    lw.export(dataset, to="parquet", out=tmp_path / "x.parquet", layers="2,value.2")
    import pyarrow.parquet as pq

    schema = pq.read_schema(tmp_path / "x.parquet")
    assert [schema.field(name).type.list_size for name in ("layer_2", "layer_value.2")] == [32, 16]
    lw.export(dataset, to="npy", out=tmp_path / "mix", mix="concat(2,value.2)")
    assert np.load(tmp_path / "mix" / "mix.npy").shape == (len(TEXTS), 48)


@pytest.mark.parametrize(
    "mix",
    [
        "value.2",
        "concat(3,value.3)",
        "concat(3,value.3; norm=layer)",
        "mean(value.1:)",
        "learned(value.1:)",
        "sum(3,mlp.3)",
    ],
)
def test_heads_on_sites_predict_what_they_did(mix: str, dataset: lw.LayerDataset, tmp_path: Path) -> None:
    head = lw.train(dataset, task="classify", label="label", mix=mix, out=tmp_path / "x.head")
    loaded = lw.load_head(tmp_path / "x.head")
    assert loaded.mixes == head.mixes
    of_texts = [entry["probabilities"]["pos"] for entry in loaded.predict(TEXTS[:10])]
    of_rows = [entry["probabilities"]["pos"] for entry in loaded.predict_rows(dataset)][:10]
    # float16 rows against those of the encoder.
    np.testing.assert_allclose(of_texts, of_rows, atol=2e-2)
    assert np.array_equal(dataset.mix(loaded), dataset.mix(head))


def test_a_head_records_the_widths_of_its_sites(dataset: lw.LayerDataset, tmp_path: Path) -> None:
    lw.train(dataset, task="classify", label="label", mix="concat(3,value.3)", out=tmp_path / "x.head")
    file = tmp_path / "x.head" / "head.json"
    value = json.loads(file.read_text())
    assert value["model"]["widths"] == {"value.3": 16}
    assert value["tasks"][0]["mix"] == "concat(3,value.3)"
    value["tasks"][0]["mix"] = "mean(3,value.3)"
    file.write_text(json.dumps(value))
    with pytest.raises(lw.HeadError, match="unequal width"):
        lw.load_head(tmp_path / "x.head")


def test_a_head_runs_no_block_after_its_sites(dataset: lw.LayerDataset, encoder: Any, tmp_path: Path) -> None:
    lw.train(dataset, task="classify", label="label", mix="value.2", out=tmp_path / "x.head")
    head = lw.load_head(tmp_path / "x.head")
    calls: list[int] = []
    sited = encoder._engine.sited().model
    handles = [
        block.mlp.register_forward_hook(lambda module, inputs, output, n=n: calls.append(n))
        for n, block in enumerate(sited.layers, 1)
    ]
    encoder.encode(TEXTS[:2], list(head.layers))
    for handle in handles:
        handle.remove()
    assert set(calls) == {1}


def test_probe_scores_sites_beside_layers(dataset: lw.LayerDataset, tmp_path: Path) -> None:
    result = lw.probe(dataset, task="classify", label="label", quick=True, mix=["concat(3,value.3)"])
    found = {candidate.mix: candidate for candidate in result.candidates}
    assert [name for name in found if "(" not in name] == list(LAYERS)
    assert found["value.1"].cost == found["1"].cost == 1 / 3
    assert found["value.1"].parameters == 17
    assert found["1"].parameters == 33
    assert found["concat(3,value.3)"].bytes_per_row == 2 * 48
    pytest.importorskip("matplotlib")
    assert lw.plots.layer_curve(result) is not None


def test_figures_draw_a_line_per_site(dataset: lw.LayerDataset) -> None:
    pytest.importorskip("matplotlib")
    analysis = lw.analyze(dataset, measure=["norm"])
    figure = lw.plots.geometry(analysis)
    (axes,) = [axes for axes in figure.axes if axes.get_visible() and axes.lines]
    drawn = [np.asarray(line.get_xdata()).tolist() for line in axes.lines]
    assert [0, 1, 2, 3] in drawn
    assert [0.25, 1.25, 2.25] in drawn, "values stand before the output of their block"
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == [
        "one layer",
        "values of attention",
    ]


def test_the_page_shows_sites(dataset: lw.LayerDataset, tmp_path: Path) -> None:
    path = lw.report(dataset, out=tmp_path / "page.html")
    data, _ = held(path.read_text(encoding="utf-8"))
    assert tuple(data["about"]["layers"]) == LAYERS
    assert [text["layers"] for text in data["tokens"]] == [["emb", "1", "2", "3"]] * len(data["tokens"])
    assert data["tokens"]


def test_commands(dataset: lw.LayerDataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(dataset.path)]) == 0
    shown = capsys.readouterr().out
    assert "value.1 16, value.2 16, value.3 16" in shown
    assert main(["info", str(dataset.path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["widths"] == {"value.1": 16, "value.2": 16, "value.3": 16}
    folder = dataset.manifest.model.id
    assert main(["show", "a text", "--model", folder, "--layers", "1,value.1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [len(row["vector"]) for row in rows] == [32, 16]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ["--layers", "attention.emb"],
            "emb, which has no sites; blocks 1 to 3 have; there are emb, 1, 2, 3",
        ),
        (["--layers", "hook.1"], "its sites are value, attention, mlp"),
        (["--layers", "value.4"], "layer 4 doesn't exist; there are emb, 1, 2, 3"),
    ],
)
def test_bad_sites_are_one_line(
    arguments: list[str],
    why: str,
    dataset: lw.LayerDataset,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["extract", str(source), "--out", str(tmp_path / "d"), "--model", dataset.manifest.model.id]
    assert main([*command, *arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert why in message
    assert "\n" not in message
    assert not (tmp_path / "d").exists()


def test_a_mix_names_what_is_stored(dataset: lw.LayerDataset) -> None:
    with pytest.raises(RequestError, match=r"layer attention\.1 isn't stored; there are emb, value\.1, 1"):
        lw.train(dataset, task="classify", label="label", mix="mean(attention.1:)", out="unused.head")
    with pytest.raises(RequestError, match=r"unequal width \(3 has 32, value\.3 has 16\)"):
        lw.probe(dataset, task="classify", label="label", mix=["mean(3,value.3)"])


def test_layer_features_of_sites(encoder: Any) -> None:
    pytest.importorskip("sklearn")
    features = lw.LayerFeatures(model=encoder, mix="concat(3,value.3)").fit(TEXTS)
    expected = encoder.encode(TEXTS, "3,value.3").mix("concat(3,value.3)")
    assert np.array_equal(features.transform(TEXTS), expected)
    names = features.get_feature_names_out()
    assert [names[0], names[32], len(names)] == ["layer03_dim00", "value03_dim00", 48]
