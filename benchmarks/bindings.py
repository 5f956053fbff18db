"""The names that code gives to what it makes, and those that say nothing about it.

`house.py` counts them, `tests/whole/test_names.py` refuses them.
"""

import ast
from collections.abc import Iterator

# Names that say how a value came to be, whose it is or where it is, and not what it is.
VAGUE = frozenset(
    [
        "about",
        "asked",
        "found",
        "given",
        "held",
        "known",
        "look",
        "made",
        "one",
        "ours",
        "own",
        "said",
        "seen",
        "stood",
        "stuff",
        "taken",
        "tell",
        "theirs",
        "there",
        "thing",
        "things",
        "told",
        "wanted",
        "way",
        "wish",
    ]
)


def bindings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each variable, argument, attribute, function, class and alias of an import."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
                yield node.lineno, name
            case (
                ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name))
            ):
                yield node.lineno, name


def is_vague(name: str) -> bool:
    """Return whether a name says nothing, in whatever case and with underscores around it."""
    return name.strip("_").lower() in VAGUE
