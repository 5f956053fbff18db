"""Read what a page of the docs tells its reader to type, and compare what comes out with what the page shows.

Blocks of a page, by their language:

- `console`: lines after `$ ` are commands (`> ` continues one), the others are what they print;
- any, after a line that ends in "Save this as `NAME`:": the content of a file;
- `python`: code; a literal in a comment at the end of a line is the value of the line;
- `sh`, `py`: commands and code for machines that the tests don't have; they are only read.

In what a page shows, `…` stands for any words, at the end of a word for any letters, and a number may differ in its last
digits.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

CLOSE = 0.02
"""How far a number with decimals may be from the one that is shown, relative to it, or to 1: another processor rounds
otherwise, and then a row of a small test set may have another label."""


@dataclass(frozen=True)
class Command:
    """A command of a page, and the words that the page shows below it."""

    text: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """A block of Python of a page; the values in its comments are assertions."""

    text: str
    values: int


@dataclass(frozen=True)
class File:
    """A file that a page tells its reader to save."""

    name: str
    text: str


BLOCK = re.compile(r"(?:Save this as `([^`]+)`:\n\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(page: str) -> Iterator[Command | Code | File]:
    """Yield the files, the commands and the code of a page in their order."""
    for name, language, block in BLOCK.findall(page):
        if name:
            yield File(name, block)
        elif language == "python":
            yield checked(block)
        elif language == "console":
            yield from commands(block)


def commands(block: str) -> Iterator[Command]:
    """Yield the commands of a console block."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        first, *rest = part.splitlines()
        typed = [first]
        while rest and rest[0][:2] in ("> ", ">"):
            typed.append(rest.pop(0)[2:])
        yield Command("\n".join(typed), tuple(" ".join(rest).split()))


def checked(code: str) -> Code:
    """Return code whose lines that end in two blanks and a comment with a literal are assertions."""
    lines = [assertion(line) or line for line in code.splitlines()]
    return Code("\n".join(lines), sum(line.startswith("assert_shown(") for line in lines))


def assertion(line: str) -> str | None:
    """Return the call that compares the value of a line with the literal in its comment, if it has one."""
    expression, mark, comment = line.rpartition("  # ")
    if not mark or line.startswith(" "):
        return None
    try:
        ast.literal_eval(comment)
        ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return None
    return f"assert_shown(({expression.strip()}), {comment})"


def assert_shown(value: Any, shown: Any) -> None:
    """Compare the value of a line of code with the one in its comment."""
    if isinstance(shown, float) or (
        isinstance(shown, list) and all(isinstance(item, float) for item in shown)
    ):
        assert value == pytest.approx(shown, abs=0.02)
    else:
        assert value == shown


def read_only(page: str) -> list[str]:
    """Return the commands of layerwise in blocks that no test can run."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    matches = (
        re.search(r"(?:^|\s|\()(layerwise [a-z].*)$", line) for line in lines if not line.startswith("#")
    )
    typed = [re.sub(r"\)$|\s+&$|\s+#.*$", "", match[1]) for match in matches if match]
    return [re.sub(r"\$\w+", "0", command) for command in typed]  # variables of the shell are numbers


def missing(shown: tuple[str, ...], printed: str) -> str | None:
    """Return the first words that a page shows and that weren't printed in this order; `None` if there are none."""
    words, start = printed.split(), 0
    for run in runs(shown):
        places = range(start, len(words) - len(run) + 1)
        place = next((at for at in places if all(map(alike, run, words[at : at + len(run)]))), None)
        if place is None:
            return " ".join(run)
        start = place + len(run)
    return None


def runs(shown: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the words between those that stand for any words."""
    run: list[str] = []
    for word in (*shown, "…"):
        if word != "…":
            run.append(word)
        elif run:
            yield run
            run = []


def alike(shown: str, printed: str) -> bool:
    """Return whether two words are equal, as far as the first one is shown, or are numbers with decimals that are close."""
    if shown == printed or (shown.endswith("…") and printed.startswith(shown[:-1])):
        return True
    numbers = [re.fullmatch(r"([^\d+-]*)([+-]?\d+\.\d+)(\D*)", word) for word in (shown, printed)]
    if numbers[0] is None or numbers[1] is None:
        return False
    (before, a, after), (before_too, b, after_too) = numbers[0].groups(), numbers[1].groups()
    is_close = abs(float(a) - float(b)) <= CLOSE * max(1.0, abs(float(a)))
    return is_close and (before, after) == (before_too, after_too)
