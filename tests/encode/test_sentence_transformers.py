"""Folders of sentence-transformers: what we make of their recipes is what sentence-transformers itself makes of them."""

import itertools
import json
import random
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import layerwise as lw
from layerwise.encode.recipe import SETTINGS
from layerwise.errors import ModelError, RequestError
from st_folders import POOLING, TRANSFORMER, encoded, make_folder, write

TEXTS = [
    "Every LAYER of every encoder, as data.",
    "a",
    "The first layers know where a Word stands; the last know more than it says, and more than that.",
    "Don't STOP: 3.14 is not 22/7!",
    "",
]
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
POOLS = {"cls": "cls", "max": "max", "mean": "mean", "lasttoken": "eos"}


def by_sentence_transformers(folder: Path, **options: Any) -> NDArray[np.float32]:
    return encoded(folder, TEXTS, **options)


def by_us(folder: Path) -> NDArray[np.float32]:
    encoder = lw.load_encoder(folder, device="cpu")
    return encoder.encode(TEXTS, -1, long="truncate").layer(-1)


def recipes() -> Iterator[dict[str, Any]]:
    """Every name of the settings with every pool once, the rest drawn."""
    draw = random.Random(5)
    for name, mode in zip(SETTINGS, itertools.cycle(POOLS), strict=False):
        settings: dict[str, Any] = {
            "max_seq_length": draw.choice([7, 12, 40]),
            "do_lower_case": draw.random() < 0.6,
        }
        if draw.random() < 0.2:
            settings = {"max_seq_length": None, "tokenizer_args": {"model_max_length": 9}}
        pooling: dict[str, Any] = {"pooling_mode": mode} if draw.random() < 0.5 else {FLAGS[mode]: True}
        if draw.random() < 0.3:
            pooling = {"pooling_mode": mode, FLAGS["max"]: True}  # the newer entry counts
        inner = draw.choice(["", "0_Transformer"])
        family = draw.choice(["bert", "roberta", "xlm-roberta"])
        new = draw.random() < 0.5
        yield {
            "family": family, "name": name, "settings": settings, "pooling": pooling, "inner": inner, "new": new, "mode": mode
        }  # fmt: skip


@pytest.mark.parametrize("recipe", list(recipes()), ids=lambda recipe: f"{recipe['name']}-{recipe['mode']}")
def test_a_recipe_gives_what_sentence_transformers_gives(
    recipe: dict[str, Any], model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    family, mode = recipe.pop("family"), recipe.pop("mode")
    folder = make_folder(model_folder(family), tmp_path / "st", **recipe)
    encoder = lw.load_encoder(folder, device="cpu")
    assert (encoder.default_pool, encoder.checkpoint.not_applied, encoder.notes) == (POOLS[mode], (), ())
    assert np.abs(by_us(folder) - by_sentence_transformers(folder)).max() <= 1e-5


@pytest.mark.parametrize("mode", POOLS)
@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "distilbert"])
def test_folders_that_sentence_transformers_writes(
    family: str, mode: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    draw = random.Random(f"{family} {mode}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = Transformer(
            str(model_folder(family)),
            max_seq_length=draw.choice([8, 30, None]),
            do_lower_case=draw.random() < 0.5,
        )
        SentenceTransformer(modules=[first, Pooling(32, mode)], device="cpu").save(str(tmp_path / "st"))
    encoder = lw.load_encoder(tmp_path / "st", device="cpu")
    assert (encoder.default_pool, encoder.checkpoint.not_applied) == (POOLS[mode], ())
    assert np.abs(by_us(tmp_path / "st") - by_sentence_transformers(tmp_path / "st")).max() <= 1e-5


@pytest.mark.parametrize("name", SETTINGS)
def test_every_name_of_the_settings_is_read(
    name: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = {"max_seq_length": 9, "do_lower_case": True}
    folder = make_folder(model_folder("roberta"), tmp_path / "st", settings=settings, name=name)
    encoder = lw.load_encoder(folder, device="cpu")
    assert (encoder.max_length, encoder.checkpoint.lowercase) == (9, True)


def test_the_first_settings_that_hold_something_count(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st", settings={})
    write(folder / SETTINGS[2], {"max_seq_length": 11})
    write(folder / SETTINGS[1], {"max_seq_length": 10})
    assert lw.load_encoder(folder, device="cpu").max_length == 10
    assert np.abs(by_us(folder) - by_sentence_transformers(folder)).max() <= 1e-5


def test_the_recipe_goes_before_the_tokenizer(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st", settings={"max_seq_length": 24})
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write(folder / "tokenizer_config.json", config | {"model_max_length": 6})
    assert lw.load_encoder(folder, device="cpu").max_length == 24
    assert np.abs(by_us(folder) - by_sentence_transformers(folder)).max() <= 1e-5


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"tokenizer_args": {"model_max_length": 9}, "processor_kwargs": {"model_max_length": 11}}, 9),
        ({"tokenizer_args": {}, "processor_kwargs": {"model_max_length": 11}}, 7),
        ({"processor_kwargs": {"model_max_length": 11}}, 11),
    ],
)
def test_the_older_name_of_tokenizer_settings_goes_first(
    settings: dict[str, Any], length: int, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st", settings={"max_seq_length": 7, **settings})
    assert lw.load_encoder(folder, device="cpu").max_length == length
    assert np.abs(by_us(folder) - by_sentence_transformers(folder)).max() <= 1e-5


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "t5"])
@pytest.mark.parametrize("level", ["text", "token"])
def test_a_tokenizer_that_cuts_the_beginning(
    family: str, level: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_folder(model_folder(family), tmp_path / "st", settings={"max_seq_length": 9})
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write(folder / "tokenizer_config.json", config | {"truncation_side": "left"})
    assert np.abs(by_us(folder) - by_sentence_transformers(folder)).max() <= 1e-5
    text = TEXTS[2]
    states = lw.load_encoder(folder, device="cpu").encode([text], level=level, long="truncate")
    assert states.texts["truncated"].to_pylist() > [0]
    if level == "token":
        ends = [end for end in states.index["end"].to_pylist() if end]
        assert ends[-1] == len(text)
        assert min(states.index["start"].to_pylist()[1:-1]) > 0 or family == "t5"


@pytest.mark.parametrize("pooling", [{}, {"pooling_mode_cls_token": False, "pooling_mode_max_tokens": False}])
def test_no_pooling_mode_is_the_mean(
    pooling: dict[str, Any], model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st", pooling=pooling or {"include_prompt": True})
    encoder = lw.load_encoder(folder, device="cpu")
    assert (encoder.default_pool, encoder.notes) == ("mean", ())
    assert np.abs(by_us(folder) - by_sentence_transformers(folder)).max() <= 1e-5


@pytest.mark.parametrize(
    ("pooling", "named"),
    [
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len_tokens"),
        ({"pooling_mode": ["cls", "mean"]}, r"cls\+mean"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, r"max\+mean"),
    ],
)
def test_a_pooling_that_is_none_of_ours_is_told(
    pooling: dict[str, Any], named: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st", pooling=pooling)
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.default_pool == "mean"
    with pytest.raises(AssertionError, match=f"pooling {named} isn't available in layerwise"):
        raise AssertionError(*encoder.notes)


PROMPTS = {"query": "query: ", "passage": "passage: ", "none": ""}


def test_vectors_that_are_cut_are_told(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st")
    write(folder / "config_sentence_transformers.json", {"truncate_dim": 8})
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.description["not_applied"] == ["truncate_dim '8'"]
    assert np.abs(by_us(folder)[:, :8] - by_sentence_transformers(folder)).max() <= 1e-5


def test_what_is_told_is_one_line(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    settings = {"x\ny": "a\nb", "z": 1}
    folder = make_folder(
        model_folder("bert"),
        tmp_path / "st",
        settings=settings,
        pooling={"pooling_mode": "c\nd"},
        more=("a.E\nF",),
    )
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.description["not_applied"] == [r"a.E\nF (code of its own)", r"x\ny 'a\nb'", "z '1'"]
    assert not any("\n" in note for note in encoder.notes)


def test_prompts_that_make_no_sense(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st")
    write(folder / "config_sentence_transformers.json", {"prompts": ["query: "]})
    with pytest.raises(ModelError, match=r"config_sentence_transformers.json: prompts is \['query: '\]"):
        lw.load_encoder(folder, device="cpu")
    write(folder / "config_sentence_transformers.json", {"prompts": {"a": 3}})
    with pytest.raises(ModelError, match=r"config_sentence_transformers.json: prompts is {'a': 3}"):
        lw.load_encoder(folder, device="cpu")
    write(folder / "config_sentence_transformers.json", {"default_prompt_name": 3})
    with pytest.raises(ModelError, match="config_sentence_transformers.json: default_prompt_name is 3"):
        lw.load_encoder(folder, device="cpu")


@pytest.mark.parametrize("whole", [True, False])
def test_a_pooling_that_is_not_there_is_refused(
    whole: bool, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st")
    (folder / "1_Pooling/config.json").unlink()
    if whole:
        (folder / "1_Pooling").rmdir()
    with pytest.raises(ModelError, match="names a module Pooling, and its settings .*1_Pooling/config.json"):
        lw.load_encoder(folder, device="cpu")


def test_what_else_a_folder_asks_for_is_told(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    settings = {
        "max_seq_length": 20,
        "unpad_inputs": True,
        "model_args": {"torch_dtype": "float16"},
        "transformer_task": "fill-mask",
        "query_length": None,
        "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        "module_output_name": "token_embeddings",
    }
    more = ("sentence_transformers.models.Normalize", "their_code.Reduce")
    folder = make_folder(model_folder("bert"), tmp_path / "st", settings=settings, more=more)
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.description["not_applied"] == [
        "Normalize",
        "their_code.Reduce (code of its own)",
        """model_args '{"torch_dtype": "float16"}'""",
        "transformer_task 'fill-mask'",
    ]


@pytest.mark.usefixtures("quick_workers")
def test_every_command_says_once_what_is_not_applied(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from layerwise.cli.main import main

    folder = make_folder(model_folder("bert"), tmp_path / "st", more=("sentence_transformers.models.Dense",))
    write(folder / "config_sentence_transformers.json", {"prompts": PROMPTS, "default_prompt_name": "query"})
    source = tmp_path / "texts.csv"
    source.write_text("text,label\n" + "".join(f"text {n} of them,{'ab'[n % 2]}\n" for n in range(12)))
    data, head = str(tmp_path / "data"), str(tmp_path / "head")
    model = ["--model", str(folder), "--device", "cpu"]
    commands = [
        ["show", "a text", *model],
        ["extract", str(source), "--out", data, *model, "--quiet"],
        ["extract", str(source), "--out", data, *model, "--quiet"],
        [
            "extract",
            str(source),
            "--out",
            f"{data}2",
            *model,
            "--quiet",
            "--num-workers",
            "1",
            "--worker-index",
            "0",
        ],
        ["extract", str(source), "--out", f"{data}3", *model, "--quiet", "--workers", "2"],
        ["verify", data, "--device", "cpu", "--quiet"],
        ["train", data, "--task", "classify", "--label", "label", "--mix", "3", "--out", head, "--quiet"],
        ["predict", head, str(source), "--quiet"],
    ]
    for command in commands:
        code = main(command)
        shown = capsys.readouterr().err
        assert code == 0, shown
        expected = 0 if command[0] == "train" else 1  # the only one without a model
        assert shown.count("are not applied") == expected, (command, shown)
        # Those that take no prompt use that of the dataset or the head, which was told when it was made.
        expected = 1 if command[0] in ("show", "extract") else 0
        assert shown.count("has the default prompt 'query' ('query: ')") == expected, (command, shown)
    not_applied = lw.open_dataset(data).manifest.model.not_applied
    assert not_applied == ("Dense",)
    for what in (data, str(folder)):
        assert main(["info", what]) == 0
        assert re.search(
            rf"^not applied +{re.escape(', '.join(not_applied))}$", capsys.readouterr().out, re.MULTILINE
        )


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({}, "lists no modules"),
        ([], "lists no modules"),
        (["Transformer"], "each needs a type and a path"),
        ([{"type": 3, "path": ""}], "each needs a type and a path"),
        (
            [{"type": "x.Router", "path": ""}],
            "first sentence-transformers module is 'Router', not a Transformer",
        ),
        ([{"type": TRANSFORMER, "path": "../other"}], "'../other', which lies outside the model's folder"),
        (
            [{"type": TRANSFORMER, "path": ""}, {"type": POOLING, "path": "/etc"}],
            "'/etc', which lies outside",
        ),
    ],
)
def test_modules_that_make_no_sense(
    modules: Any, message: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st")
    write(folder / "modules.json", modules)
    with pytest.raises(ModelError, match=message):
        lw.load_encoder(folder, device="cpu")


@pytest.mark.parametrize("length", [0, -3, "12", True, 7.5])
def test_maximum_lengths_that_make_no_sense(
    length: Any, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st", settings={"max_seq_length": length})
    with pytest.raises(ModelError, match="asks for a maximum length of"):
        lw.load_encoder(folder, device="cpu")


def test_eos_is_the_last_token_of_all(encoder_of: Callable[[str], Any]) -> None:
    for family in ("bert", "roberta", "t5"):
        encoder = encoder_of(family)
        tokens = encoder.encode(TEXTS, level="token")
        last = np.cumsum(np.bincount(tokens.index["doc"].to_numpy())) - 1
        assert tokens.index["special"].to_numpy()[last].all()
        states = encoder.encode(TEXTS, pool="eos")
        assert np.abs(states.stack() - tokens.stack()[:, last]).max() <= 1e-5
    long = ["word " * 200]
    tokens = encoder.encode(long, level="token")
    assert tokens.texts["windows"].to_pylist() > [1]
    assert np.abs(encoder.encode(long, pool="eos").stack()[:, 0] - tokens.stack()[:, -1]).max() <= 1e-5


def test_eos_is_a_pool_of_texts_alone(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    encoder = encoder_of("bert")
    with pytest.raises(RequestError, match="pool 'eos' doesn't fit level 'word': only a text has one"):
        encoder.encode(TEXTS, level="word", pool="eos")
    source = tmp_path / "texts.txt"
    source.write_text("a word\nand more words\n")
    lw.extract(source, tmp_path / "words", model=encoder, level="word")
    with pytest.raises(
        RequestError, match="pool 'eos' needs the last special token, which a dataset of words doesn't hold"
    ):
        lw.pool(tmp_path / "words", tmp_path / "x", pool="eos")


def test_a_process_says_once_what_is_not_applied(
    model_folder: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, other = (
        make_folder(model_folder("bert"), tmp_path / name, more=("sentence_transformers.models.Dense",))
        for name in ("once", "other")
    )
    for path in (folder, folder, other):
        lw.load_encoder(path, device="cpu")
    notes = [record.getMessage() for record in caplog.records if "not applied" in record.getMessage()]
    assert notes == [f"model {str(path)!r} has steps that are not applied: Dense" for path in (folder, other)]
