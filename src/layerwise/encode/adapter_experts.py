"""Adapters of mixtures of experts that are older than transformers 5.

Each expert had modules of its own, and has become a part of a tensor of its block. peft converts the tensors of such
adapters for some families; here is what is said where it doesn't.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator

from torch import nn

from layerwise.encode.adapter_files import Adapter
from layerwise.encode.model_errors import first_line
from layerwise.errors import LayerwiseError, ModelError

START = "base_model.model."  # of the names of tensors that peft writes
_OF_EXPERT = re.compile(r"\.experts\.\d+\.")


# Entries of a configuration that peft leaves as they are, though ranks have changed and modules have other names.
_ENTRIES = ("use_rslora", "rank_pattern", "alpha_pattern")


class NoPlaceError(ModelError):
    """A part of an adapter that has no place in its base, or that is missing: `name`."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name.removeprefix(START)


@contextlib.contextmanager
def expert_errors(what: str, version: str, root: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Name the reason where an adapter has tensors of single experts, and peft doesn't convert all of them.

    Args:
        what: the adapter, for errors.
        version: that of peft.
        root: the module that the names of the tensors begin in.
        names: those of the tensors, as they are stored.
    """
    modules = [f"{name}." for name, _ in root.named_modules()]
    joined = any(name.endswith(".experts.") for name in modules) and not any(map(_OF_EXPERT.search, modules))
    if not joined or not any(map(_OF_EXPERT.search, names)):
        yield
        return
    try:
        yield
    except Exception as error:
        if isinstance(error, LayerwiseError) and not isinstance(error, NoPlaceError):
            raise
        detail = repr(error.name) if isinstance(error, NoPlaceError) else first_line(error)
        raise _not_converted(what, version, detail) from None


def check_converted(what: str, version: str, adapter: Adapter, parameters: Iterable[str] | None) -> None:
    """Raise ModelError for entries that peft doesn't convert, where it has converted others.

    Args:
        what, version: as in `expert_errors`.
        adapter: its files.
        parameters: the `target_parameters` that peft uses.
    """
    entry = next((entry for entry in _ENTRIES if adapter.entries.get(entry)), None)
    if entry is not None and set(parameters or ()) != set(adapter.entries.get("target_parameters") or ()):
        raise _not_converted(what, version, f"its entry {entry}")


def _not_converted(what: str, version: str, detail: str) -> ModelError:
    return ModelError(
        f"{what} is of transformers before version 5, in which experts and routers were modules of their own, and peft {version} "
        f"doesn't convert all of it ({detail:.200}); merge it into its base with the versions that it was trained with "
        "(merge_and_unload of peft) and give the folder of the result"
    )
