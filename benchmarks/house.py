"""What the code of the package looks like, in numbers: sizes, parameters, imports, comments, names.

With `--before CHECKOUT` those of another checkout stand beside them.
"""

import argparse
import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Mapping
from pathlib import Path

from bindings import bindings, is_vague
from common import ROOT, show

_WINDOW = 6  # lines that stand somewhere else as well are repeated


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    args = parser.parse_args()
    now = figures(ROOT / "src" / "layerwise")
    before = figures(args.before / "src" / "layerwise") if args.before else {}
    heads = ("", "before", "now") if before else ("", "now")
    show(
        [heads, *((name, *([before[name]] if before else []), value) for name, value in now.items())],
        right=(1, 2),
    )
    return 0


def figures(package: Path) -> dict[str, str]:
    """Return what there is to say of the package that stands in a folder, by name."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    functions = [
        node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    lengths = sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions)
    lines = sorted(source.count("\n") for source in sources.values())
    names = [name for tree in trees.values() for _, name in bindings(tree)]
    parameters = max(
        len([*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]) for node in functions
    )
    comments = sum(_comments(source) for source in sources.values())
    vague = sum(map(is_vague, names))
    repeated = _repeated(list(sources.values()))
    return {
        "files": f"{len(sources)}",
        "lines": f"{sum(lines):,}",
        "lines of a file, median, 90th percentile, longest": _three(lines),
        "lines of a function, median, 90th percentile, longest": _three(lengths),
        "functions over 40 lines": f"{sum(length > 40 for length in lengths)} ({_share(lengths)})",
        "most parameters": f"{parameters}",
        "own imports within functions": f"{sum(map(_own_imports, functions))}",
        "files in import cycles": f"{_in_cycles(package, trees)}",
        "share of lines that hold a comment": f"{comments / sum(lines):.1%}",
        "bindings whose name says nothing": f"{vague} of {len(names):,} ({vague / len(names):.1%})",
        f"lines that stand in {_WINDOW} equal ones elsewhere": f"{repeated} ({repeated / sum(lines):.1%})",
    }


def _share(lengths: list[int]) -> str:
    return f"{sum(length > 40 for length in lengths) / len(lengths):.1%}"


def _three(numbers: list[int]) -> str:
    return f"{statistics.median(numbers):g} {numbers[int(0.9 * len(numbers))]} {numbers[-1]}"


def _own_imports(function: ast.FunctionDef) -> int:
    modules = [node.module or "" for node in ast.walk(function) if isinstance(node, ast.ImportFrom)]
    return sum(module.split(".")[0] == "layerwise" for module in modules)


def _in_cycles(package: Path, trees: Mapping[Path, ast.Module]) -> int:
    """Return how many files import themselves through others; imports within functions and for types count."""
    module_of = {path: ".".join(path.relative_to(package).with_suffix("").parts) for path in trees}
    needs = {module_of[path]: _ours(tree) & {*module_of.values()} for path, tree in trees.items()}
    reached = {name: set(others) for name, others in needs.items()}
    grows = True
    while grows:
        grows = False
        for others in reached.values():
            further: set[str] = set().union(*(needs[other] for other in others)) - others
            others |= further
            grows = grows or bool(further)
    return sum(name in others for name, others in reached.items())


def _ours(tree: ast.Module) -> set[str]:
    """Return the modules of layerwise that a file imports, without the leading `layerwise.`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "layerwise":
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {str(name).removeprefix("layerwise.") for name in names}


def _comments(source: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


def _repeated(sources: list[str]) -> int:
    """Return how many lines are part of a run that stands elsewhere too; imports and blank lines don't count."""
    seen: dict[tuple[str, ...], int] = {}
    files = [
        [
            line.strip()
            for line in source.splitlines()
            if line.strip() and not line.startswith(("from ", "import "))
        ]
        for source in sources
    ]
    for lines in files:
        for start in range(len(lines) - _WINDOW + 1):
            window = tuple(lines[start : start + _WINDOW])
            seen[window] = seen.get(window, 0) + 1
    count = 0
    for lines in files:
        repeated = set()
        for start in range(len(lines) - _WINDOW + 1):
            if seen[tuple(lines[start : start + _WINDOW])] > 1:
                repeated |= set(range(start, start + _WINDOW))
        count += len(repeated)
    return count


if __name__ == "__main__":
    sys.exit(main())
