"""A Sphinx extension: pages of commands and errors made from the code, and links out of the folder of pages."""

from typing import Any

from sphinx.application import Sphinx

from layerwise_docs import outside
from layerwise_docs.commands import CommandDirective
from layerwise_docs.errors import ErrorsDirective


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives `command` and `errors`; called by Sphinx."""
    app.add_directive("command", CommandDirective)
    app.add_directive("errors", ErrorsDirective)
    outside.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
