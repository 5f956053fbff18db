"""Sentences that readers of results see are in the catalogue: no other literal of Python or of the page's scripts is."""

import ast
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

import layerwise
from layerwise.figures.page import NOT_ON_THE_PAGE, SCRIPTS
from layerwise.wording import catalogue

ROOT = Path(layerwise.__file__).parent
# Rooms whose results the page shows. Errors and progress are for the terminal, and in English.
ROOMS = ("labels", "probing", "geometry", "figures", "page")
SENTENCE = re.compile(r"[A-Za-z][a-z']+[,:;]? [a-z][a-z']+")
CITATION = re.compile(r"\b(?:19|20)\d\d\b")
# Parts of errors, steps of progress, and words of other libraries.
OTHER_TEXT = {
    "labels": {"the file", "the dataset", "the label {}", "; a file of labels needs UTF-8"}
    | {"column {} holds the ids of texts", "there is no column {}, only {}"}
    | {
        ", or use another column for {}",
        " (such values: {} of {})",
        " of text {},",
        " of the text in {}, line {},",
    }
    | {
        "which is beyond float32 ({}), in which heads compute; give the numbers in a larger unit, or leave it empty",
        "which isn't a finite number; the head was trained on numbers: correct it, or leave it empty",
        "which isn't a finite number; {} needs numbers: correct it, or use {}",
        "a number with a comma, and numbers need a point; write {}, in the source{}",
        ", or in a file for {}",
        "{}.{} or {}{}, whichever is meant",
    },
    "probing": {"online code", " and online code"},
    "geometry": {"extract such rows", "add that", "on all rows"},
    "figures": {
        "axes fraction",
        "offset points",
        "last resort",
        "pip install 'layerwise[fonts]'",
        "lower left",
        "outside lower center",
        "language of figures",
    }
    | {"there are {}", "there are none", "the result of `{}`", "it is {}"},
    "page": {"restore the model of the dataset"},
}
# Words of earlier versions, which only their authors knew; the field has others (token, C and alpha, depends on, path).
PRIVATE = {"en": ("piece", "strength", "hangs on", "the way of"), "zh": ("词片", "强度", "悬于", "之路")}
PROGRESS = {"named", "report", "each", "warn"}
SCRIPT_CODE = re.compile(
    r"""/\*.*?\*/|(?<![:"'`\w])//[^\n]*|(?:class|d|transform|points|style|rel|href): (?:`[^`]*`|"[^"]*"|[^,}\n]*"[^"]*")""",
    re.S,
)
SELECTOR = re.compile(r"^\(prefers-|:not\(|^[a-z., ]+, [a-z]+$|^[a-z]+ (?:ink[\d{]|of-[a-z]+$)")
SCRIPT_TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of string literals outside of docstrings, errors, progress and displays."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Raise | ast.Assert):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.FunctionDef) and node.name in ("__repr__", "_lines", "_note", "needs"):
            continue
        if isinstance(node, ast.Call) and _name(node.func).endswith(("Error", *PROGRESS)):
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        else:
            yield from literals(node)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@pytest.mark.parametrize("room", ROOMS)
def test_no_sentence_of_python_is_outside_the_catalogue(room: str) -> None:
    outside = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / room).glob("*.py"))
        for line, text in literals(ast.parse(path.read_text("utf-8")))
        if SENTENCE.search(text)
        and not CITATION.search(text)
        and not text.startswith("<")
        and text not in OTHER_TEXT[room]
    ]
    assert not outside, "put these into the catalogue (`wording.Message`):\n" + "\n".join(outside)


@pytest.mark.parametrize("room", ["read", "encode", "extraction"])
def test_no_notice_of_a_dataset_is_outside_the_catalogue(room: str) -> None:
    """Notices are stored in the manifest, and the page shows them."""
    outside = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and _adds_notice(node.func)
        if isinstance(node.args[0], ast.JoinedStr | ast.Constant)
    ]
    assert not outside, "put these into the catalogue (`wording.Message`):\n" + "\n".join(outside)


def _adds_notice(function: ast.expr) -> bool:
    if not isinstance(function, ast.Attribute):
        return False
    is_list = isinstance(function.value, ast.Attribute) and function.value.attr.endswith("notices")
    return function.attr == "_add_notice" or (is_list and function.attr == "append")


def test_no_word_of_the_scripts_is_outside_the_catalogue() -> None:
    static = resources.files("layerwise.figures") / "static"
    outside = []
    for name in SCRIPTS:
        code = SCRIPT_CODE.sub(" ", (static / f"{name}.js").read_text("utf-8"))
        for quoted, template in SCRIPT_TEXT.findall(code):
            text = re.sub(r"\$\{[^}]*\}", "{}", quoted or template)
            if SELECTOR.search(text):
                continue
            if SENTENCE.search(text) or re.search(r"^[A-Z][a-z]+[ .!?]", text):
                outside.append(f"{name}.js: {text}")
    assert not outside, "put these into the catalogue and use `t`:\n" + "\n".join(outside)


@pytest.mark.parametrize("lang", sorted(PRIVATE))
def test_no_text_of_the_catalogue_has_a_private_word(lang: str) -> None:
    private = {
        key: text for key, text in catalogue(lang).items() for word in PRIVATE[lang] if word in text.lower()
    }
    assert not private, f"say this in the words of the field: {private}"


def test_every_text_of_the_catalogue_is_used() -> None:
    """A text that nothing names is a rest of something that is gone."""
    static = resources.files("layerwise.figures") / "static"
    code = "".join(path.read_text("utf-8") for path in ROOT.rglob("*.py"))
    code += "".join((static / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    code += (static / "page.html").read_text("utf-8")
    unused = []
    for key in catalogue("en"):
        whole = key.removesuffix(".one")
        group = whole.rpartition(".")[0]
        named = f'"{whole}"' in code or f"'{whole}'" in code
        built = any(
            f"{quote}{part}.{mark}" in code
            for part in _heads(group)
            for quote in "\"'`"
            for mark in ("${", "{")
        )
        by_name = group and f'"{group}", ' in code
        if not (named or built or by_name or _attribute(whole, code)):
            unused.append(key)
    assert not unused


def _heads(group: str) -> Iterator[str]:
    parts = group.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


def _attribute(key: str, code: str) -> bool:
    return f'data-t="{key}"' in code or f'data-label="{key}"' in code


def test_the_scan_finds_a_sentence() -> None:
    tree = ast.parse('notes.append(f"{n} rows were left out.")')
    assert [text for _, text in literals(tree) if SENTENCE.search(text)] == ["{} rows were left out."]
    assert NOT_ON_THE_PAGE
