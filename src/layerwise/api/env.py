"""env: what this machine and its libraries are."""

from layerwise.encode.machine import describe_machine
from layerwise.results import Facts


def env() -> Facts:
    """Return versions, processor and devices, by name; add them to a bug report."""
    return Facts("Environment", describe_machine())
