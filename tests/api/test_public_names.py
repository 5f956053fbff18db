"""The public face: names, parameters, and the wording of what several verbs share."""

import inspect
import re
from typing import Any

import pytest

import layerwise as lw

NAMES = [
    *(
        "Alignment",
        "Analysis",
        "Benchmark",
        "CutModel",
        "CutTable",
        "DatasetError",
        "Encoder",
        "Evaluation",
        "Export",
        "Facts",
        "Head",
        "HeadError",
    ),
    *("LayerDataset", "LayerFeatures", "LayerMix", "LayerStates", "LayerwiseError", "ModelError"),
    *("NotebookPage", "OutputError", "Overview", "Predictions", "ProbeResult", "Progress", "Repair"),
    *(
        "RequestError",
        "SourceError",
        "Transform",
        "Verification",
        "align",
        "analyze",
        "bench",
        "cut",
        "env",
        "evaluate",
        "explore",
    ),
    *(
        "export",
        "extract",
        "finish",
        "info",
        "load_encoder",
        "load_head",
        "load_transform",
        "merge",
        "open_dataset",
        "plots",
    ),
    *("pool", "predict", "probe", "repair", "report", "show", "train", "verify"),
]
VERBS = [
    *(
        "align",
        "analyze",
        "bench",
        "cut",
        "env",
        "evaluate",
        "explore",
        "export",
        "extract",
        "finish",
        "info",
        "merge",
        "pool",
        "predict",
        "probe",
        "repair",
    ),
    *("report", "show", "train", "verify"),
]
FIRST = {
    **dict.fromkeys(VERBS, "dataset"),
    "align": "a",
    "bench": None,
    "cut": "model",
    "env": None,
    "evaluate": "head",
    "extract": "source",
    "info": "name",
    "merge": "datasets",
    "predict": "head",
    "show": "text",
}
# Parameters that mean the same in every verb, in the order in which verbs list them.
ORDER = [
    *("task", "label", "model", "revision", "device", "allow_pickle", "trust_remote_code", "layers", "level"),
    *("pool", "special_tokens", "mix", "groups", "split", "quick", "max_rows", "seed", "progress", "threads"),
]


def verbs() -> dict[str, Any]:
    return {
        **{name: getattr(lw, name) for name in VERBS},
        "Head.predict": lw.Head.predict,
        "Head.evaluate": lw.Head.evaluate,
    }


def described(verb: Any) -> dict[str, str]:
    """What the docstring of a verb says of each parameter."""
    text = inspect.getdoc(verb) or ""
    arguments = text.partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.split(r"\n(?=    \w)", f"\n{arguments}")
    pairs = (entry.strip().partition(": ") for entry in entries if entry.strip())
    return {name: " ".join(what.split()) for names, _, what in pairs for name in names.split(", ")}


def test_the_public_names_are_these() -> None:
    assert lw.__all__ == NAMES == sorted(NAMES)
    assert dir(lw) == sorted([*NAMES, "__version__"])


def test_nothing_foreign_stands_in_plots() -> None:
    names = [name for name in dir(lw.plots) if not name.startswith("_")]
    assert (
        names
        == ["directions", "geometry", "heatmap", "layer_curve", "projection", "save", "weights"]
        == lw.plots.__all__
    )


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_takes_its_subject_first_and_options_by_name(verb: str) -> None:
    parameters = list(inspect.signature(getattr(lw, verb)).parameters.values())
    positional = [one.name for one in parameters if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert positional[:1] == [name for name in [FIRST[verb]] if name]
    assert positional[1:] in (
        [],
        ["out"],
        ["source"] if verb in ("predict", "evaluate") else [],
        ["b"] if verb == "align" else [],
    )


@pytest.mark.parametrize("verb", verbs())
def test_an_editor_completes_every_option(verb: str) -> None:
    for one in inspect.signature(verbs()[verb]).parameters.values():
        assert one.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL), one.name
        assert one.annotation is not inspect.Parameter.empty or one.name == "self", one.name


@pytest.mark.parametrize("verb", verbs())
def test_a_docstring_describes_every_parameter(verb: str) -> None:
    names = [name for name in inspect.signature(verbs()[verb]).parameters if name != "self"]
    assert sorted(described(verbs()[verb])) == sorted(names)


OTHER_MEANINGS = {("label", "analyze"), ("task", "export")}  # a column of classes; the name of a head's task
WORDINGS = {
    "progress": "called with the progress; see `lw.Progress`.",
    "threads": "number of threads to compute with",
    "task": "`classify`, `regress` or `tag`.",
    "label": "the column of the labels",
    "max_rows": "the largest number of rows to use; whole texts are sampled.",
}


@pytest.mark.parametrize("verb", verbs())
def test_what_means_the_same_is_described_in_the_same_words(verb: str) -> None:
    for name, text in described(verbs()[verb]).items():
        if (name, verb) not in OTHER_MEANINGS:
            assert text.startswith(WORDINGS.get(name, "")), name


@pytest.mark.parametrize("verb", VERBS)
def test_shared_parameters_have_one_order(verb: str) -> None:
    parameters = inspect.signature(getattr(lw, verb)).parameters
    names = [name for name in parameters if name in ORDER and (name, verb) not in OTHER_MEANINGS]
    assert names == sorted(names, key=ORDER.index)


def test_task_and_label_are_alike() -> None:
    for verb in (lw.probe, lw.train):
        parameters = inspect.signature(verb).parameters
        for name in ("task", "label"):
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
