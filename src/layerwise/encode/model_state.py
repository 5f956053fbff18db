"""Restore a model after a forward.

Some families store things on their modules during a forward, and behave differently afterwards: BigBird replaces its
attention at the first short text, rotary positions grow with the longest text. The layers of a text would then depend
on the texts before it.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

_MISSING = object()
Attributes = dict[str, tuple[Any, dict[Any, Any] | None]]


def snapshot(model: nn.Module) -> Callable[[], bool]:
    """Return a function that restores a model as it is now, and returns whether anything had changed.

    It restores the attributes of all modules, and which modules, parameters and buffers they hold. It doesn't restore
    the numbers in tensors, and leaves hooks alone.
    """
    saved = [(module, _attributes(module)) for module in model.modules()]

    def restore() -> bool:
        changed = [_restore(module, attributes) for module, attributes in saved]
        return any(changed)

    return restore


def _attributes(module: nn.Module) -> Attributes:
    """Return the attributes of a module, each with a copy where it is a dictionary."""
    return {
        name: (value, value.copy() if isinstance(value, dict) else None)
        for name, value in vars(module).items()
        if "_hooks" not in name
    }


def _restore(module: nn.Module, attributes: Attributes) -> bool:
    now, changed = vars(module), False
    for name in [name for name in now if name not in attributes and "_hooks" not in name]:
        del now[name]
        changed = True
    for name, (value, entries) in attributes.items():
        if now.get(name, _MISSING) is not value:
            now[name] = value
            changed = True
        if entries is not None and not _same_entries(value, entries):
            value.clear()
            value.update(entries)
            changed = True
    return changed


def _same_entries(first: dict[Any, Any], second: dict[Any, Any]) -> bool:
    return list(first) == list(second) and all(first[name] is second[name] for name in first)
