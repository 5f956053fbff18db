"""Models that are loaded once for many tests, where loading isn't what is tested: an encoder never changes."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Folders of tests whose commands and verbs load a model anew each time, as a user's process would.
ROOMS = {"cli", "extraction", "figures", "geometry", "heads", "labels", "page", "probing", "whole"}
KEPT = 6


class LoadedModels:
    """Keeps the encoders that were loaded last, while `kept` is true."""

    kept = False


@contextmanager
def loading_once(models: LoadedModels) -> Iterator[None]:
    """Load a model again only when its files have changed, or while `models.kept` is false."""
    from layerwise.encode import load

    load_anew: Callable[..., Any] = load._load

    @functools.lru_cache(KEPT)
    def keep(model: str, loading: Any, _: object) -> Any:
        return load_anew(model, loading)

    def once(model: Any, loading: Any) -> Any:
        folder = Path(model)
        is_local = str(model) == "minilm" or folder.is_dir()
        if not models.kept or loading.adapter or not is_local:
            return load_anew(model, loading)
        files = sorted(path for path in folder.resolve().rglob("*") if path.is_file())
        stamps = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
        return keep(str(model), loading, stamps)

    load._load = once
    try:
        yield
    finally:
        load._load = load_anew
