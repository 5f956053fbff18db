"""Modules that are imported when they are first used: what keeps `import layerwise`, and a command's start, light.

`from layerwise import encode` costs nothing; `encode.load.load_encoder` imports torch. Imports within functions would
do the same, and hide from a reader, and from the import test, what a file needs.
"""

import importlib
from collections.abc import Callable
from types import ModuleType


def submodules(package: str) -> Callable[[str], ModuleType]:
    """Return the `__getattr__` of a package whose submodules are imported when they are first used.

    Args:
        package: its name, `__name__` there.
    """

    def imported(name: str) -> ModuleType:
        full = f"{package}.{name}"
        try:
            if name.startswith("_"):
                raise ModuleNotFoundError(name=full)
            return importlib.import_module(full)
        except ModuleNotFoundError as error:
            if error.name != full:  # a library that it needs
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return imported
