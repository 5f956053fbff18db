"""Import submodules at first use, so that `import layerwise` and the start of a command stay fast.

`from layerwise import encode` is cheap; `encode.load.load_encoder` imports torch. Imports within functions would have
the same effect, but would hide the needs of a file from readers and from the import test.
"""

import importlib
from collections.abc import Callable
from types import ModuleType


def submodules(package: str) -> Callable[[str], ModuleType]:
    """Return the `__getattr__` of a package that imports its submodules at first use.

    Args:
        package: the name of the package, its `__name__`.
    """

    def imported(name: str) -> ModuleType:
        """Return a submodule by its name."""
        full = f"{package}.{name}"
        try:
            if name.startswith("_"):
                raise ModuleNotFoundError(name=full)
            return importlib.import_module(full)
        except ModuleNotFoundError as error:
            if error.name != full:  # a library that the submodule needs
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return imported
