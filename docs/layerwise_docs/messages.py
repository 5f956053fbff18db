"""Every message of an error that the code of layerwise raises, read from the code.

A message is the text of a call of an error's class, with placeholders where it quotes values. Where a function makes errors
of a text that it is given, there is a message for each text that callers give.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import layerwise
from layerwise.wording import catalogue

ROOT = Path(layerwise.__file__).parent
PUBLIC = (
    "RequestError",
    "SourceError",
    "ModelError",
    "DatasetError",
    "HeadError",
    "OutputError",
    "LayerwiseError",
)
# Errors that other files turn into a public one, or into an answer of the server; the place of the message in the call.
OTHERS = {"BadRecordError": ("SourceError", 0), "Refusal": ("Refusal", 2)}
Function = ast.FunctionDef | ast.AsyncFunctionDef
_MOST = 8  # texts that one call may have
_DEEPEST = 3  # functions and variables that are followed one after another


@dataclass(frozen=True)
class Value:
    """A place of a message that quotes a value; `name` says which."""

    name: str
    is_argument: bool = False  # the name of a parameter, which the command line shows as a flag


Part = str | Value


@dataclass(frozen=True)
class ErrorMessage:
    """A message of an error.

    Attributes:
        error: the public class of the error.
        file: the file that raises it, from the package's folder.
        line: the line in this file.
        parts: text and values, in order.
    """

    error: str
    file: str
    line: int
    parts: tuple[Part, ...]

    @property
    def room(self) -> str:
        """The folder of the file; '' for files of the package's own folder."""
        return self.file.rpartition("/")[0].partition("/")[0]

    @property
    def only_quotes(self) -> bool:
        """Whether the message is that of another error, with a place before it: its words are listed there."""
        return not any(
            re.search(r"[^\W\d_]{2}", part.replace(", line ", ""))
            for part in self.parts
            if isinstance(part, str)
        )

    @property
    def quotes_cause(self) -> bool:
        """Whether the message ends with the words of another error, or of a library."""
        *_, last = [part for part in self.parts if part != ")"]
        return isinstance(last, Value)

    def halves(self) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        """Return what is wrong, and what to do: the two sides of the last semicolon; the second may be empty."""
        for number in range(len(self.parts) - 1, -1, -1):
            part = self.parts[number]
            if isinstance(part, str) and "; " in part:
                wrong, _, advice = part.rpartition("; ")
                return (*self.parts[:number], wrong), (advice, *self.parts[number + 1 :])
        return self.parts, ()


@cache
def messages(quotes: bool = False) -> tuple[ErrorMessage, ...]:
    """Return every message, in the order of files and lines; with `quotes` those too that only quote another one."""
    modules = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
    errors = dict(_error_classes(modules.values()))
    calls = _calls(modules)
    constants = _constants(modules.values())
    found: dict[tuple[str, int, tuple[Part, ...]], ErrorMessage] = {}
    for path, module in modules.items():
        for message in _of_module(path, module, errors, calls, constants):
            if quotes or not message.only_quotes:
                found.setdefault((message.file, message.line, message.parts), message)
    return tuple(found.values())


def _error_classes(modules: Iterable[ast.Module]) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield each class of errors: its name, its public class, and the position of its message among the arguments."""
    bases = {
        node.name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for module in modules
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
    }
    yield from OTHERS.items()
    for name in bases:
        line = name
        while line not in PUBLIC and bases.get(line):
            line = bases[line][0]
        if line in PUBLIC:
            yield name, (line, 0)


@dataclass(frozen=True)
class _Scope:
    """What a message's names mean: the functions of its file, and the function that makes it."""

    functions: Mapping[str, Function]
    constants: Mapping[str, ast.expr]
    inner: Function | None

    def assigned(self, name: str) -> list[ast.expr]:
        """Return the values that the function gives to a name."""
        return [
            node.value
            for node in (ast.walk(self.inner) if self.inner else ())
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        ]


def _constants(modules: Iterable[ast.Module]) -> dict[str, ast.expr]:
    """Return the constants of modules that are texts, by name; where modules have different ones of a name, it is left out."""
    values: dict[str, list[ast.expr]] = {}
    for module in modules:
        for node in module.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                values.setdefault(node.targets[0].id, []).append(node.value)
    return {
        name: several[0]
        for name, several in values.items()
        if name.isupper() and len({ast.dump(value) for value in several}) == 1 and _is_text(several[0])
    }


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _of_module(
    path: Path,
    module: ast.Module,
    errors: Mapping[str, tuple[str, int]],
    calls: Mapping[str, Sequence[ast.Call]],
    constants: Mapping[str, ast.expr],
) -> Iterator[ErrorMessage]:
    functions = {node.name: node for node in ast.walk(module) if isinstance(node, Function)}
    file = path.relative_to(ROOT).as_posix()
    for function, call in _with_functions(module):
        error = errors.get(_called(call))
        if error is None or len(call.args) <= error[1]:
            continue
        scope = _Scope(functions, constants, function)
        for parts in _texts(call.args[error[1]], scope):
            message = ErrorMessage(error[0], file, call.lineno, parts)
            yield from _for_callers(message, function, calls, constants) if function else [message]


def _with_functions(module: ast.Module) -> Iterator[tuple[Function | None, ast.Call]]:
    """Yield each call with the innermost function around it."""

    def visit(node: ast.AST, function: Function | None) -> Iterator[tuple[Function | None, ast.Call]]:
        if isinstance(node, ast.Call):
            yield function, node
        for child in ast.iter_child_nodes(node):
            yield from visit(child, child if isinstance(child, Function) else function)

    return visit(module, None)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _calls(modules: Mapping[Path, ast.Module]) -> dict[str, list[ast.Call]]:
    """Return the calls by the name of the called function, with the file in the name where that is private."""
    calls: dict[str, list[ast.Call]] = {}
    for path, module in modules.items():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and _called(node):
                calls.setdefault(_call_name(_called(node), path), []).append(node)
    return calls


def _call_name(name: str, path: Path) -> str:
    return f"{path.relative_to(ROOT).as_posix()}:{name}" if name.startswith("_") else name


def _for_callers(
    message: ErrorMessage,
    function: Function,
    calls: Mapping[str, Sequence[ast.Call]],
    constants: Mapping[str, ast.expr],
) -> Iterator[ErrorMessage]:
    """Yield the message with the texts that callers of its function give, in place of the names of parameters."""
    parameters = [item.arg for item in (*function.args.posonlyargs, *function.args.args)]
    names = [*parameters, *(item.arg for item in function.args.kwonlyargs)]
    quoted = [part.name for part in message.parts if isinstance(part, Value) and part.name in names]
    callers = calls.get(_call_name(function.name, ROOT / message.file), ()) if quoted else ()
    bound = [_bound(call, parameters) for call in callers]
    given = [
        {name: text for name in quoted for text in _literal(arguments.get(name), constants)}
        for arguments in bound
    ]
    if not given or any(not texts for texts in given):
        yield message
    for texts in given:
        if texts:
            parts = [
                piece
                for part in message.parts
                for piece in (texts.get(part.name, (part,)) if isinstance(part, Value) else (part,))
            ]
            yield replace(message, parts=_joined(parts))


def _bound(call: ast.Call, parameters: Sequence[str]) -> dict[str, ast.expr]:
    """Return the arguments of a call by the names of parameters."""
    names = parameters[1:] if parameters[:1] in (["self"], ["cls"]) else parameters
    named = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    return dict(zip(names, call.args, strict=False)) | named


def _literal(argument: ast.expr | None, constants: Mapping[str, ast.expr]) -> Iterator[tuple[Part, ...]]:
    """Yield the text of an argument if it is one of several words."""
    if isinstance(argument, ast.Constant | ast.JoinedStr | ast.BinOp):
        yield from filter(_has_words, _texts(argument, _Scope({}, constants, None)))


def _texts(node: ast.expr, scope: _Scope, depth: int = 0) -> list[tuple[Part, ...]]:
    """Return the texts that an expression may be, at most `_MOST`: of both sides of an `if`, of a variable, or of a function."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, scope, depth), *_texts(node.orelse, scope, depth)][:_MOST]
    if isinstance(node, ast.Constant):
        return [(str(node.value),)]
    if isinstance(node, ast.Name) and node.id in scope.constants:
        return _texts(scope.constants[node.id], scope, depth)
    if isinstance(node, ast.JoinedStr):
        values = (value.value if isinstance(value, ast.FormattedValue) else value for value in node.values)
        return _products([_texts_within(value, scope, depth) for value in values])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _products([_texts_within(side, scope, depth) for side in (node.left, node.right)])
    return _texts_elsewhere(node, scope, depth) or [tuple(_pieces(node, scope))]


def _texts_within(node: ast.expr, scope: _Scope, depth: int) -> list[tuple[Part, ...]]:
    """Return the texts of a part of a message; a part that may be a single word stands for all of them."""
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
        return _texts(node, scope, depth)
    if isinstance(node, ast.Name) and node.id in scope.constants:
        return _texts(node, scope, depth)
    texts = (
        _texts(node, scope, depth) if isinstance(node, ast.IfExp) else _texts_elsewhere(node, scope, depth)
    )
    sentences = [text for text in texts if not any(text) or _has_words(text)]
    return sentences if any(map(_has_words, sentences)) else [tuple(_pieces(node, scope))]


def _texts_elsewhere(node: ast.expr, scope: _Scope, depth: int) -> list[tuple[Part, ...]]:
    """Return the texts of a variable, or those that a function of the same file returns; none for other expressions."""
    if depth == _DEEPEST:
        return []
    if isinstance(node, ast.Name):
        texts = [
            _texts(value, scope, depth + 1) for value in scope.assigned(node.id) if _may_be_text(value, scope)
        ]
        return list(itertools.chain.from_iterable(texts))[:_MOST]
    if isinstance(node, ast.Call) and (function := scope.functions.get(_called(node))) is not None:
        inside = replace(scope, inner=function)
        returned = [item.value for item in ast.walk(function) if isinstance(item, ast.Return) and item.value]
        texts = [_texts(value, inside, depth + 1) for value in returned if _may_be_text(value, inside)]
        kept = [text for text in itertools.chain.from_iterable(texts) if not any(text) or _has_words(text)]
        return kept[:_MOST] if any(map(_has_words, kept)) else []
    return []


def _may_be_text(node: ast.expr, scope: _Scope) -> bool:
    """Return whether an expression is a text, or what a variable or a function of the file has."""
    if isinstance(node, ast.Call):
        return _called(node) in scope.functions
    return isinstance(node, ast.IfExp | ast.Constant | ast.JoinedStr | ast.BinOp | ast.Name)


def _has_words(parts: tuple[Part, ...]) -> bool:
    return any(isinstance(part, str) and " " in part.strip() for part in parts)


def _products(choices: Sequence[list[tuple[Part, ...]]]) -> list[tuple[Part, ...]]:
    """Return every way to choose one text of each, joined; at most `_MOST`."""
    joined = (_joined(part for parts in chosen for part in parts) for chosen in itertools.product(*choices))
    return list(itertools.islice(joined, _MOST))


def _pieces(node: ast.expr, scope: _Scope) -> Iterator[Part]:
    """Yield an expression that is no text as a value, or as what it is known to say."""
    if isinstance(node, ast.IfExp):
        yield from _pieces(node.body, scope)
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        yield from _texts(node, scope, _DEEPEST)[0]
    elif (
        isinstance(node, ast.Call) and _called(node) == "argument" and isinstance(node.args[0], ast.Constant)
    ):
        is_false = (
            len(node.args) > 1 and isinstance(node.args[1], ast.Constant) and node.args[1].value is False
        )
        yield Value("no_" * is_false + str(node.args[0].value), is_argument=True)
        if len(node.args) > 1 and not _is_truth(node.args[1]):
            yield from (" ", *_pieces(node.args[1], scope))
    elif (
        isinstance(node, ast.Call) and _called(node) == "count_of" and isinstance(node.args[1], ast.Constant)
    ):
        noun = node.args[2] if len(node.args) > 2 else node.args[1]
        plural = str(noun.value) if isinstance(noun, ast.Constant) else ""
        yield from (Value("number"), f" {plural}" if len(node.args) > 2 else f" {plural}s")
    elif isinstance(node, ast.Call) and _called(node) == "Message":
        yield from _of_catalogue(node)
    else:
        yield Value(_name(node))


def _is_truth(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _of_catalogue(call: ast.Call) -> Iterator[Part]:
    """Yield the parts of a message of the catalogue."""
    (key,) = call.args[:1]
    if not isinstance(key, ast.Constant):
        yield Value("message")
        return
    for number, piece in enumerate(re.split(r"\{(\w+)[^}]*\}", catalogue("en")[str(key.value)])):
        yield Value(piece) if number % 2 else piece


def _name(node: ast.expr) -> str:
    """Return a word for the value of an expression: the name that stands in it."""
    if isinstance(node, ast.Call):
        inner = [*node.args, *(keyword.value for keyword in node.keywords)]
        if _called(node) == "len":
            return "number"
        if inner:
            return _name(inner[-1] if _called(node) == "map" else inner[0])
        if isinstance(node.func, ast.Attribute):
            return _name(node.func.value)
        return _called(node).strip("_")
    if isinstance(node, ast.Name):
        return node.id.strip("_").lower()
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_").lower()
    if isinstance(node, ast.Subscript | ast.Starred):
        return _name(node.value)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _name(node.generators[0].iter)
    if isinstance(node, ast.BinOp):
        return _name(node.left)
    return "value"


def _joined(pieces: Iterable[Part]) -> tuple[Part, ...]:
    """Return the pieces with neighbouring texts as one, and without empty ones."""
    joined: list[Part] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece != "":
            joined.append(piece)
    return tuple(joined)
