"""env: what this machine and its libraries are."""

from layerwise.encode.machine import describe_machine


def env() -> dict[str, str]:
    """Return versions, processor and devices, by name."""
    return describe_machine()
