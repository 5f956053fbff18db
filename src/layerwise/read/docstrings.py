"""Real text available on every machine with Python: the docstrings of the standard library."""

import ast
import inspect
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_SKIP = {"site-packages", "test", "tests", "idle_test", "lib2to3", "__pycache__", "turtledemo"}
_MIN_WORDS = 9  # shorter paragraphs are mostly headings and signatures


def paragraphs() -> Iterator[tuple[str, str]]:
    """Yield (package, paragraph) for every paragraph of prose in the standard library's documentation.

    Prose begins with a capital letter, ends like a sentence, and shows no interpreter session. The package
    is the top-level package of the module. Files are read in the order of their names, and a paragraph
    that occurs several times is yielded once.
    """
    root = Path(sysconfig.get_path("stdlib"))
    yielded: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if _SKIP.intersection(parts):
            continue
        package = parts[0].removesuffix(".py")
        for docstring in _docstrings(path):
            for paragraph in re.split(r"\n\s*\n", docstring):
                text = " ".join(paragraph.split())
                if _is_prose(text) and text not in yielded:
                    yielded.add(text)
                    yield package, text


def _is_prose(text: str) -> bool:
    return text[:1].isupper() and text[-1] in ".:!?" and ">>>" not in text and len(text.split()) >= _MIN_WORDS


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:  # the library keeps some broken files, to test its own parsers
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield inspect.cleandoc(docstring)
