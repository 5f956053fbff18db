"""Each option is written once: the verb's parameters, and the command's flags, have its name, default and choices."""

import argparse
import ast
import inspect
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise import api, options
from layerwise.cli.main import _parser
from layerwise.encode.encoder import Encoder

STORED = (options.StoredModelOptions, options.LoadOptions)
# The verb, its options, and which of them it hasn't.
VERBS: dict[str, tuple[tuple[type, ...], set[str]]] = {
    "show": ((options.ShowOptions, options.RunOptions), set()),
    "extract": ((options.ExtractOptions, options.WorkerOptions, options.RunOptions), set()),
    "info": ((options.LoadOptions,), {"device"}),
    "verify": ((options.VerifyOptions, *STORED, options.RunOptions), {"revision"}),
    "repair": ((*STORED, options.RunOptions), {"revision"}),
    "pool": ((options.PoolOptions, options.RunOptions), set()),
    "train": ((options.TrainOptions, options.RunOptions), set()),
    "probe": ((options.ProbeOptions, options.RunOptions), set()),
    "analyze": ((options.AnalyzeOptions, options.RunOptions), set()),
    "align": ((options.AlignOptions, options.RunOptions), set()),
    "report": ((options.PageOptions, options.RunOptions), set()),
    "export": ((options.ExportOptions,), set()),
    "explore": ((options.PageOptions, options.RunOptions), set()),
    "predict": ((options.PredictOptions, options.RunOptions), set()),
    "evaluate": (
        (
            options.HeadContextOptions,
            options.ReadOptions,
            options.BatchOptions,
            *STORED,
            options.RunOptions,
        ),
        set(),
    ),
    "serve": ((options.ServeOptions, options.RunOptions), set()),
    "cut": ((options.CutOptions, options.RunOptions), set()),
    "bench": ((options.BenchOptions, options.RunOptions), set()),
}
# Parameters that aren't options: the input and output of a verb, and parameters whose flags have another form.
APART = {"source", "out", "dataset", "path", "name", "progress", "datasets"}
BESIDES = {
    "train": {"task", "label", "mix", "tasks"},
    "probe": {"task", "label"},
    "bench": {"source"},
    "show": {"text"},
}
BESIDES |= {"align": {"a", "b"}}
BESIDES |= {"cut": {"model"}}
BESIDES |= {"serve": {"models", "watcher"}}
BESIDES |= {"evaluate": {"head"}, "predict": {"head"}}
DIFFERS = {("explore", "points")}  # what is served to one machine may be more than what fits into a file
OTHER_HELP = {("repair", "device")}  # by default the device of the dataset: another gives other bytes


def of(verb: str) -> dict[str, Any]:
    """The options of a verb, by name."""
    classes, without = VERBS[verb]
    return {option.name: option for cls in classes for option in fields(cls) if option.name not in without}


def flags(verb: str) -> dict[str, argparse.Action]:
    (commands,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {action.dest: action for action in commands.choices[verb]._actions if action.option_strings}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_its_options_and_their_defaults(verb: str) -> None:
    parameters = dict(inspect.signature(getattr(getattr(api, verb), verb)).parameters)
    expected = of(verb)
    apart = (APART | BESIDES.get(verb, set())) - set(expected)
    listed = {name: p for name, p in parameters.items() if name not in apart}
    assert set(listed) == set(expected), f"lw.{verb} and its options differ"
    for name, option in expected.items():
        assert listed[name].default == option.default, f"lw.{verb}, {name}"


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_has_a_flag_for_each_option(verb: str) -> None:
    actions = flags(verb)
    for name, option in of(verb).items():
        assert name in actions, f"layerwise {verb} has no flag for {name}"
        action = actions[name]
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        assert action.default == default or (verb, name) in DIFFERS, f"layerwise {verb}, {name}"
        shown = (action.help or "").replace("%%", "%")
        assert shown, f"layerwise {verb}, {name}"
        assert (option.metadata["help"] in shown) != ((verb, name) in OTHER_HELP), f"layerwise {verb}, {name}"
        flag = f"--{'no-' if option.default is True else ''}{'head' if name == 'heads' else name.replace('_', '-')}"
        assert action.option_strings == [flag]


@pytest.mark.parametrize(
    "cls", [getattr(options, name) for name in options.__all__ if name.endswith("Options")]
)
def test_an_option_says_what_it_is(cls: type) -> None:
    for option in fields(cls):
        assert option.default is not MISSING
        assert option.metadata["help"], f"{cls.__name__}.{option.name} has no help"
        choices = option.metadata["choices"]
        if choices and option.default is not None:
            assert option.default in choices


@pytest.mark.parametrize(
    ("method", "classes"),
    [
        (Encoder.encode, [options.EncodeOptions]),
        (lw.Head.evaluate, [options.HeadContextOptions, options.ReadOptions, options.RunOptions]),
    ],
)
def test_a_method_has_the_options_of_the_command(method: Any, classes: list[type]) -> None:
    parameters = inspect.signature(method).parameters
    for option in (option for group in classes for option in fields(group)):
        assert parameters[option.name].default == option.default, f"{method.__name__}, {option.name}"


def test_only_verbs_have_many_parameters() -> None:
    """A verb lists its options for editors, as `Encoder.encode` and `Head.evaluate` do; elsewhere they travel as one."""
    root = Path(lw.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and path.parent.name != "api":
                count = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
                assert count <= 12 or node.name in ("encode", "evaluate", "__init__"), (
                    f"{path}: {node.name} has {count} parameters"
                )
