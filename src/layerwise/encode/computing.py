"""The number of threads of a verb that runs a model."""

from collections.abc import Iterator
from contextlib import contextmanager

from layerwise._util.threads import limited


@contextmanager
def computing(threads: int | None) -> Iterator[None]:
    """Compute with this number of threads until the end of the block; see `threads.limited`.

    Raises:
        RequestError: the number is less than one.
    """
    import torch  # noqa: F401  # `limited` only limits the threads of libraries that were imported before

    with limited(threads):
        yield
