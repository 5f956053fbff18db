"""The versions of the libraries that results depend on."""

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("layerwise", "torch", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")


def versions() -> dict[str, str]:
    """Return the versions of Python, of layerwise, and of the libraries that its results depend on."""
    out = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "not installed"
    return out
