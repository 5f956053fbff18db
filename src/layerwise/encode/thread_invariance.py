"""Make the vectors of a model on a CPU the same to the bit with any number of threads.

torch divides an elementwise operation into one stretch per thread. In each stretch it computes vectors of several
numbers at a time, and the rest at the end, less than two vectors, with other functions: `exp` and similar functions
then differ in the last bit. (`at::parallel_for` in ATen/Parallel-inl.h and `vectorized_loop` in
ATen/native/cpu/Loops.h of torch.) With another number of threads the stretches end elsewhere, and so do these bits.
The same dataset, made with another number of threads or workers, would have other bytes.

So after each activation the ends of all stretches are computed again, as the inner part of a stretch. Modules that
depend on the number of threads in other ways (sines, convolutions) run on one thread.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from layerwise._util.threads import computing

_GRAIN = 32_768  # the smallest number of elements for which torch uses another thread
_WINDOW = 128  # elements; a multiple of two vectors, for any processor and type
_ACTIVATIONS = ("torch.nn.modules.activation", "transformers.activations")
_BY_ROW = (nn.Softmax, nn.Softmin, nn.LogSoftmax, nn.Softmax2d, nn.MultiheadAttention)


def make_thread_invariant(model: nn.Module) -> None:
    """Make activations, rotary positions and convolutions give the same bits with any number of threads, in place."""
    for module in model.modules():
        if type(module).__module__ in _ACTIVATIONS and not isinstance(module, _BY_ROW):
            module.register_forward_hook(_recompute_ends)
        elif _depends_on_threads(module):
            module.forward = _on_one_thread(module.forward)


def _depends_on_threads(module: nn.Module) -> bool:
    """Return whether a module computes sines or a convolution, as a module of torch or in its own code (ConvBERT)."""
    sines = "rotary" in type(module).__name__.lower() and not list(module.children())
    return sines or isinstance(module, nn.Conv1d) or hasattr(module, "conv_kernel_size")


def _on_one_thread(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def forward_on_one_thread(*args: Any, **kwargs: Any) -> Any:
        with computing(1):
            return forward(*args, **kwargs)

    return forward_on_one_thread


def _recompute_ends(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    """Compute the output again at the ends of all threads' stretches, in place; a forward hook."""
    x = inputs[0]
    if not isinstance(output, torch.Tensor) or not output.is_contiguous() or x.shape != output.shape:
        return
    ends = _stretch_ends(output.numel(), torch.get_num_threads())
    if not ends or output.data_ptr() == x.data_ptr():
        return
    if x.is_contiguous():
        x, output, parts = x.view(-1), output.view(-1), _windows_around(ends, output.numel())
    else:  # a part of a wider tensor, which torch computes row by row; a tensor of one row would be contiguous
        last = output.shape[-1]
        x, output = x.flatten(0, -2), output.flatten(0, -2)
        rows = {min(end // last, len(output) - 1) for end in ends}
        parts = [(max(0, row - 1), row + 1) for row in rows]
    for begin, end in parts:
        output[begin:end] = module.forward(x[begin:end])


def _stretch_ends(size: int, threads: int) -> set[int]:
    """Return where the threads' stretches of `size` elements end; nothing if all of them are whole windows."""
    ends: set[int] = set()
    for number in {threads, min(threads, -(-size // _GRAIN))}:
        stretch = -(-size // max(number, 1))
        if number > 1 and stretch % _WINDOW:
            ends |= {min(size, (thread + 1) * stretch) for thread in range(number)}
    return ends


def _windows_around(ends: set[int], size: int) -> list[tuple[int, int]]:
    """Return (begin, end) of whole windows that hold the elements just before each of `ends`."""
    return [
        (max(0, end // _WINDOW - 1) * _WINDOW, min(size, -(-end // _WINDOW) * _WINDOW))
        for end in sorted(ends)
    ]
