"""A Sphinx extension: pages of commands and errors made from the code, and links out of the folder of pages."""

import re
import zlib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from layerwise_docs import outside
from layerwise_docs.commands import CommandDirective
from layerwise_docs.errors import ErrorsDirective
from layerwise_docs.search import SearchWords


def escape_bars(
    app: Sphinx, kind: str, name: str, documented: object, options: object, lines: list[str]
) -> None:
    """Escape the bars of |a − b| in a docstring, which reStructuredText would read as a substitution."""
    lines[:] = [re.sub(r"(`[^`]*`)|\|", lambda bar: bar[1] or r"\|", line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives `command` and `errors`; called by Sphinx."""
    app.add_directive("command", CommandDirective)
    app.add_directive("errors", ErrorsDirective)
    app.connect("autodoc-process-docstring", escape_bars)
    app.add_search_language(SearchWords)
    outside.setup(app)
    # Another number lets Sphinx read all pages anew.
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return {
        "version": "1",
        "env_version": zlib.crc32(code),
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
