"""The threads of a verb that runs a model."""

from collections.abc import Iterator
from contextlib import contextmanager

from layerwise._util.threads import limited


@contextmanager
def computing(threads: int | None) -> Iterator[None]:
    """Compute with so many threads until the end of the block; see `threads.limited`.

    Raises:
        RequestError: less than one.
    """
    import torch  # noqa: F401  # whose threads are limited, so it has to be there before

    with limited(threads):
        yield
