"""The house: who may import whom, who is alone in knowing a library, and that `import layerwise` is light."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import layerwise

ROOT = Path(layerwise.__file__).parent
DOMAIN = {
    "arguments",
    "array_types",
    "errors",
    "choices",
    "layers",
    "mixes",
    "options",
    "pooling",
    "results",
    "row_selection",
    "alignment",
    "columns",
    "example",
    "fitted_mix",
    "tolerance",
    "schema",
    "states",
    "texts",
    "transforms",
    "transform_fit",
    "recall",
    "unknown",
    "widths",
    "wording",
    "segmenter",
    "word_split",
    "word_vectors",
}
# What a room may import besides itself, the domain and `_util`; `_util` imports no more of the domain than its set.
MAY_IMPORT: dict[str, set[str]] = {
    "_util": {"errors", "arguments"},
    "domain": set(),
    "read": set(),
    "encode": set(),
    "store": set(),
    "parallel": set(),
    "extraction": {"read", "encode", "store", "parallel"},
    "labels": {"read"},
    "heads": {"read", "labels", "encode", "store"},
    "probing": {"heads", "labels"},
    "geometry": {"labels"},
    "cutting": {"read", "encode", "store", "extraction", "labels", "heads", "probing", "geometry"},
    "figures": set(),
    "page": {"encode", "extraction", "labels", "geometry", "store", "figures"},
    "api": {
        "read",
        "encode",
        "store",
        "parallel",
        "extraction",
        "labels",
        "heads",
        "probing",
        "geometry",
        "cutting",
        "figures",
        "page",
        "serving",
    },
    "serving": {"encode", "heads"},
    "server": {"api", "serving"},
    "cli": {"api", "server", "serving"},
}
SOLE_TENANTS = {
    "transformers": {
        "encode/hf/__init__.py",
        "encode/hf/loading.py",
        "encode/hf/modules.py",
        "encode/hf/reports.py",
        "encode/hf/saving.py",
        "encode/hf/tokenizer.py",
        "encode/hf/weights.py",
        "encode/token_classifier.py",
    },
    "tokenizers": {"encode/hf/tokenizer.py"},
    "huggingface_hub": {"encode/checkpoint.py"},
    "filelock": {"store/disk.py", "store/locks.py", "_util/temporary.py"},
    "upath": {"_util/paths.py"},
    "ray": {"parallel/ray.py"},
    "presidio_analyzer": {"read/presidio.py"},
    "spacy": {"read/presidio.py"},
    "jieba": {"segmenter.py"},
    "peft": {"encode/adapters.py"},
    "sentence_transformers": {"extraction/speed.py"},
    "flair": {"extraction/speed.py"},
    "matplotlib": {"figures/canvas.py"},
    "pandas": {"_util/pandas.py"},
    "polars": {"_util/polars.py"},
    "skdim": {"geometry/dimension.py"},
    "umap": {"geometry/umap.py"},
    "faiss": {"store/faiss_index.py"},
    "usearch": {"store/usearch_index.py"},
    "onnxruntime": {"cutting/onnx_runtime.py"},
    "onnx": {"cutting/onnx_runtime.py"},
    "onnxscript": {"cutting/onnx_runtime.py"},
    "h5py": {"encode/tensorflow/h5.py"},
    "starlette": {"server/web.py"},
    "uvicorn": {"server/run.py"},
    "prometheus_client": {"server/metrics.py"},
    "argparse": {f"cli/{path.name}" for path in (ROOT / "cli").glob("*.py")},
}
NO_TORCH = {"_util", "domain", "read", "store", "parallel", "labels", "figures", "server", "cli", "api"}


def modules() -> list[Path]:
    return sorted(
        path
        for path in ROOT.rglob("*.py")
        if path.parent != ROOT or path.stem not in ("__init__", "__main__")
    )


def room(dotted: str) -> str:
    """The room of `layerwise.DOTTED`."""
    first = dotted.split(".")[0]
    return "domain" if first in DOMAIN else first


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    return tuple(imported(path))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, or uses as an attribute of a package that imports lazily."""
    tree = parsed(path)
    packages = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            if node.module == "layerwise":
                packages |= {alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in packages:
            yield f"layerwise.{node.value.id}.{node.attr}"


def ours(path: Path) -> set[str]:
    """The modules of layerwise that a file imports, without the leading `layerwise.`."""
    found = {name.removeprefix("layerwise.") for name in imports(path) if name.startswith("layerwise.")}
    return {name for name in found if (ROOT / name.replace(".", "/")).with_suffix(".py").exists()}


def test_imports_go_down_only() -> None:
    wrong = []
    for path in modules():
        own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        everywhere = {own} if own == "_util" else {own, "domain", "_util"}
        for name in ours(path):
            target = room(name)
            if target not in everywhere | MAY_IMPORT[own] and name not in MAY_IMPORT[own]:
                wrong.append(
                    f"{path.relative_to(ROOT)} ({own}) imports {name} ({target}); it may import {sorted(MAY_IMPORT[own])}"
                )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", sorted((ROOT / "api").glob("*.py")), ids=lambda path: path.name)
def test_a_verb_puts_rooms_in_sequence(path: Path) -> None:
    """It computes nothing itself, and is no part of another verb."""
    for name in imports(path):
        assert name.split(".")[0] not in ("numpy", "torch", "pyarrow"), f"{path.name} imports {name}"
        assert path.name == "__init__.py" or not name.startswith("layerwise.api"), (
            f"{path.name} imports {name}"
        )


def lazy_imports(path: Path) -> Iterator[str]:
    """What the functions of a file import of layerwise."""
    for function in ast.walk(parsed(path)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.split(".")[0] == "layerwise":
                    yield f"{path.relative_to(ROOT)}: {function.name} imports {name}; import it at the top"


def test_no_function_imports_what_is_ours() -> None:
    """A package that imports lazily (`_util/lazy.py`) keeps a start light; what a file needs stands on top."""
    wrong = [line for path in modules() for line in lazy_imports(path)]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_the_public_names() -> None:
    """`import layerwise` leads to every room, past the test of what a room may import."""
    wrong = [str(path.relative_to(ROOT)) for path in modules() if "layerwise" in imports_of_modules(path)]
    assert not wrong, f"these import layerwise as a whole: {wrong}"


def imports_of_modules(path: Path) -> set[str]:
    """The modules that a file imports by `import`, and `layerwise` where it takes one of its public names."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "layerwise":
            names |= {"layerwise" for alias in node.names if alias.name in layerwise.__all__}
    return names


def test_no_imports_go_round() -> None:
    """Neither at import, nor for types, nor lazily."""
    needs = {".".join(path.relative_to(ROOT).with_suffix("").parts): ours(path) for path in modules()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"imports go round: {' -> '.join([*way[way.index(name) :], name])}"
        if name not in done:
            for other in sorted(needs.get(name, ())):
                visit(other, (*way, name))
            done.add(name)

    for name in needs:
        visit(name, ())


def test_every_file_has_a_room() -> None:
    rooms = {room(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in modules()}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("library", SOLE_TENANTS)
def test_a_library_is_known_in_one_place(library: str) -> None:
    users = {
        p.relative_to(ROOT).as_posix()
        for p in modules()
        if any(n.split(".")[0] == library for n in imports(p))
    }
    assert users <= SOLE_TENANTS[library], f"{library} is imported in {sorted(users)}"


def test_modules_are_imported_by_name_in_one_place() -> None:
    """A string hides from these tests what a file needs; `layerwise/__init__.py` and `_util/lazy.py` are the mechanism."""
    users = {
        path.relative_to(ROOT).as_posix()
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Name | ast.Attribute)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in ("import_module", "__import__")
    }
    # The command's own modules, and the package of minilm.
    assert users == {"_util/lazy.py", "cli/main.py", "encode/checkpoint.py"}


def test_torch_stays_where_vectors_are_made() -> None:
    # Pooling works on tensors as well, on a GPU; states hand a layer over as a tensor.
    for path in modules():
        if room(".".join(path.relative_to(ROOT).with_suffix("").parts)) in NO_TORCH and path.stem not in (
            "pooling",
            "states",
        ):
            assert not any(name.split(".")[0] == "torch" for name in imports(path)), path


def test_only_one_file_prints() -> None:
    """What it prints is fit for a terminal, whatever name, label or text stands in it."""
    for path in modules():
        calls = [n for n in ast.walk(parsed(path)) if isinstance(n, ast.Call)]
        prints = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
        assert not prints or path.relative_to(ROOT).as_posix() == "cli/output.py", (
            f"{path.relative_to(ROOT)} prints"
        )


def test_only_the_disk_opens_files_for_writing() -> None:
    """Through `store/disk`, which follows no link."""
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        for call in ast.walk(parsed(path)):
            if isinstance(call, ast.Call) and name != "store/disk.py":
                assert not writes(call), f"{name}, line {call.lineno} opens a file for writing"


def writes(call: ast.Call) -> bool:
    """Whether a call opens a file for writing: `open` with such a mode, or a method that writes one."""
    named = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if named not in ("open", "OSFile"):
        return named in ("write_bytes", "write_text", "save_file", "copyfile")
    modes = [
        one.value
        for one in (*call.args, *(word.value for word in call.keywords))
        if isinstance(one, ast.Constant)
    ]
    return any(
        isinstance(mode, str) and set(mode) & set("wax+") and set(mode) <= set("rwaxbt+") for mode in modes
    )


@pytest.mark.parametrize("code", ["import layerwise", "from layerwise.cli.main import _parser; _parser()"])
def test_importing_is_light(code: str) -> None:
    heavy = (
        "[m for m in ('torch', 'transformers', 'pyarrow', 'numpy', 'scipy', 'sklearn') if m in sys.modules]"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print({heavy})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_public_names() -> None:
    assert dir(layerwise) == sorted([*layerwise.__all__, "__version__"])
    for name in layerwise.__all__:
        assert getattr(layerwise, name).__doc__, f"lw.{name} says nothing of itself"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        layerwise.nonsense  # noqa: B018
