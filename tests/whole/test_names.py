"""Names: each binding says what it holds, and each class has a name of its own."""

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import layerwise

ROOT = Path(layerwise.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
# Read as a file: the folder isn't on the path of tests.
NAMING: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "bindings.py"))


def vague_names(path: Path) -> Iterator[str]:
    """The place and the name of each binding of a file whose name is vague."""
    file = path.relative_to(ROOT).as_posix()
    if NAMING["is_vague"](path.stem):
        yield f"{file}: the module {path.stem!r}"
    for line, name in NAMING["bindings"](ast.parse(path.read_text(encoding="utf-8"))):
        if NAMING["is_vague"](name):
            yield f"{file}:{line}: {name!r}"


def test_names_say_what_they_hold() -> None:
    places = [place for path in MODULES for place in vague_names(path)]
    assert not places, (
        "these names say nothing about what they hold; give each the noun of the domain, such as checkpoint, scores "
        "or rows:\n" + "\n".join(places)
    )


def test_all_kinds_of_bindings_are_read() -> None:
    code = """
import os as made
from os import path as given, sep
class Found: own: int = 1
async def told(seen, /, held, *taken, ours=1, **theirs):
    self._known = [_ for there in () if (wish := there)]
    with open(one) as _SAID: pass
    match wanted:
        case {"a": tell, **way}: pass
        case [asked, *stood] as look: pass
    try: pass
    except OSError as about: pass
"""
    names = {name for _, name in NAMING["bindings"](ast.parse(code))}
    assert {name.strip("_").lower() for name in names} - {""} == (
        NAMING["VAGUE"] - {"one", "wanted", "stuff", "thing", "things"}
    )


def defined_types(path: Path) -> Iterator[tuple[int, str, bool]]:
    """The line and the name of each class and each alias of a type in a file, and whether it is a class."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.lineno, node.name, True
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id.strip("_")
            if name[:1].isupper() and not name.isupper():
                yield node.lineno, name, False


def test_no_two_classes_share_a_name() -> None:
    """Private ones and aliases of types included: a reader who searches for a class gets one answer."""
    places: dict[str, list[str]] = {}
    classes = set()
    for path in MODULES:
        for line, name, is_class in defined_types(path):
            places.setdefault(name.strip("_"), []).append(f"{path.relative_to(ROOT).as_posix()}:{line}")
            if is_class:
                classes.add(name.strip("_"))
    shared = {name: places[name] for name in sorted(classes) if len(places[name]) > 1}
    assert not shared, f"these names are of several classes or types; rename all but one: {shared}"
