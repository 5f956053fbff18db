"""The directive `errors`: every message of one kind of errors, what is wrong and what to do, by the part of the code."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from layerwise.arguments import flag_name
from layerwise_docs.markdown import escaped
from layerwise_docs.messages import ROOT, ErrorMessage, Part, Value, messages

SERVER = ("server", "serving")
# Each kind has a page, `reference/errors/NAME.md`, and takes the messages for which its function is true.
KINDS: dict[str, Callable[[ErrorMessage], bool]] = {
    "server": lambda message: message.room in SERVER,
    "source": lambda message: message.error == "SourceError",
    "model": lambda message: message.error == "ModelError",
    "dataset": lambda message: message.error == "DatasetError",
    "head": lambda message: message.error == "HeadError",
    "output": lambda message: message.error == "OutputError",
    "labels": lambda message: message.error == "RequestError" and message.room == "labels",
    "request": lambda message: message.error in ("RequestError", "LayerwiseError"),
}
ROOMS = {
    "": "Layers, mixes, pools and other options",
    "_util": "Files, threads and progress",
    "api": "Verbs",
    "cli": "The command line",
    "cutting": "Smaller models (cut)",
    "encode": "Models and encoding",
    "extraction": "Making datasets (extract, finish, merge, pool, repair, verify)",
    "figures": "Figures",
    "geometry": "Analysis and alignment (analyze, align)",
    "heads": "Heads (train, predict, evaluate)",
    "labels": "Labels",
    "page": "The page (report, explore)",
    "parallel": "Workers",
    "probing": "Probing (probe)",
    "read": "Reading sources",
    "server": "HTTP",
    "serving": "Requests and queues",
    "store": "Datasets on disk, exports",
}


# Names of values in the code, and what a reader sees in their place.
_WORDS = {
    "codec": "encoding",
    "colno": "column",
    "error": "reason",
    "first label": "first file",
    "home": "folder",
    "reason": "reason",
    "root": "folder",
    "second label": "second file",
    "strerror": "reason",
    "why": "reason",
}
_WORDS_OF_READERS = {"from": "another file", "label": "file"}  # in the room `read`
# Of a message that ends in the words of another error, or in an advice that depends on the case.
_AT_THE_END = "The end of the message says what to do."


class ErrorsDirective(SphinxDirective):
    """`{errors} source`: the messages of one of `KINDS`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a section with a list for each part of the code."""
        for path in ROOT.rglob("*.py"):
            self.env.note_dependency(str(path))
        text = "\n".join(markdown(self.arguments[0]))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def of_kind(kind: str) -> list[ErrorMessage]:
    """Return the messages of one of `KINDS`; each message is of the first kind that takes it."""
    return [message for message in messages() if kind_of(message) == kind]


def kind_of(message: ErrorMessage) -> str:
    """Return the kind of a message."""
    return next(kind for kind, takes in KINDS.items() if takes(message))


def markdown(kind: str) -> Iterator[str]:
    """Yield the lines of a kind's page, as MyST Markdown."""
    by_room: dict[str, dict[str, str]] = {}
    for message in of_kind(kind):
        wrong, advice = message.halves()
        problem, remedy = (_in_words(in_markdown(part), message) for part in (wrong, advice))
        by_room.setdefault(message.room, {}).setdefault(problem, remedy if has_text(advice) else _AT_THE_END)
    for room in sorted(by_room, key=lambda name: ROOMS[name]):
        if len(by_room) > 1:
            yield from (f"## {ROOMS[room]}", "")
        for problem, remedy in sorted(by_room[room].items(), key=lambda item: _own_words(item[0])):
            yield from (problem, f": {_sentence(remedy)}", "")


def _in_words(text: str, message: ErrorMessage) -> str:
    """Return a message with the words that a reader sees in place of the names that values have in the code."""

    def word(value: re.Match[str]) -> str:
        return f"*{words.get(value[1], value[1])}*"

    words = _WORDS | (_WORDS_OF_READERS if message.room == "read" else {})
    return re.sub(r"(?<![\\*])\*([^*\\]+)\*", word, text)


def _own_words(problem: str) -> str:
    """Return the words of a message without the values that it quotes, by which messages are sorted."""
    words = re.sub(r"(?<!\\)\*[^*]+\*", "", problem)
    return re.sub(r"^\W+", "", words).lower() + problem


def in_markdown(parts: Sequence[Part]) -> str:
    """Return a message in one line: values in italics, arguments as flags.

    A value without a blank or a sign before it is an addition that only some messages have; it is left out.
    """
    words: list[str] = []
    for before, part in itertools.pairwise(["", *parts]):
        if isinstance(part, Value) and (isinstance(before, Value) or before[-1:].isalnum()):
            continue
        if isinstance(part, str):
            words.append(escaped(" ".join(part.splitlines())))
        elif part.is_argument:
            words.append(f"`--{flag_name(part.name)}`")
        else:
            words.append(f"*{part.name.replace('_', ' ')}*")
    return "".join(words).strip()


def has_text(parts: Sequence[Part]) -> bool:
    """Return whether a part of a message has words of its own, or names an option, beside the values that it quotes."""
    return any(part.is_argument if isinstance(part, Value) else part.strip() for part in parts)


def _sentence(advice: str) -> str:
    """Return an advice that begins with a capital letter."""
    return advice[:1].upper() + advice[1:]
