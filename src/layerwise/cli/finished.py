"""Whether a dataset is finished, for the commands that do nothing when they are run again."""

from layerwise._util.paths import place


def manifest_bytes(out: str) -> bytes | None:
    """Return the bytes of the manifest at `out`; `None` where no finished dataset is."""
    path = place(out) / "manifest.json"
    return path.read_bytes() if path.is_file() else None
