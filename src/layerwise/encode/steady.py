"""Bits that don't depend on how many threads share an operation, on a CPU.

torch cuts an elementwise operation into as many stretches as there are threads, and computes what is left over at the
end of each, less than two vectors, by other functions than the rest: `exp` and its kin then differ in the last bit.
(`at::parallel_for` in ATen/Parallel-inl.h and `vectorized_loop` in ATen/native/cpu/Loops.h of torch.)
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from layerwise._util.threads import computing

_GRAIN = 32_768  # elements that are worth a thread, by torch's measure
_WINDOW = 128  # elements: a multiple of two vectors of any processor and type
_ACTIVATIONS = ("torch.nn.modules.activation", "transformers.activations")
_BY_ROW = (nn.Softmax, nn.Softmin, nn.LogSoftmax, nn.Softmax2d, nn.MultiheadAttention)


def steady(model: nn.Module) -> None:
    """Let activations, rotary positions and convolutions of a model on a CPU give the same bits with any threads."""
    for module in model.modules():
        if type(module).__module__ in _ACTIVATIONS and not isinstance(module, _BY_ROW):
            module.register_forward_hook(_mend)
        elif _goes_by_threads(module):
            module.forward = _by_one_thread(module.forward)


def _goes_by_threads(module: nn.Module) -> bool:
    """Tell whether a module computes sines, or a convolution, as a module of torch or by hand (ConvBERT)."""
    sines = "rotary" in type(module).__name__.lower() and not list(module.children())
    return sines or isinstance(module, nn.Conv1d) or hasattr(module, "conv_kernel_size")


def _by_one_thread(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def alone(*args: Any, **kwargs: Any) -> Any:
        with computing(1):
            return forward(*args, **kwargs)

    return alone


def _mend(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    """Compute again, in place, what may have been left over at the end of a thread's stretch."""
    inputs_tensor = inputs[0]
    if (
        not isinstance(output, torch.Tensor)
        or not output.is_contiguous()
        or inputs_tensor.shape != output.shape
    ):
        return
    ends = _ends(output.numel(), torch.get_num_threads())
    if not ends or output.data_ptr() == inputs_tensor.data_ptr():
        return
    if inputs_tensor.is_contiguous():
        before, after, stretches = inputs_tensor.view(-1), output.view(-1), _around(ends, output.numel())
    else:  # a part of a wider tensor, of which row after row is computed; a single one would be contiguous
        before, after = inputs_tensor.flatten(0, -2), output.flatten(0, -2)
        rows = {min(end // output.shape[-1], len(after) - 1) for end in ends}
        stretches = [(max(0, row - 1), row + 1) for row in rows]
    for begin, end in stretches:
        after[begin:end] = module.forward(before[begin:end])


def _ends(size: int, threads: int) -> set[int]:
    """Return where the stretches of threads end, unless all are whole windows."""
    ends: set[int] = set()
    for number in {threads, min(threads, -(-size // _GRAIN))}:
        stretch = -(-size // max(number, 1))
        if number > 1 and stretch % _WINDOW:
            ends |= {min(size, (thread + 1) * stretch) for thread in range(number)}
    return ends


def _around(ends: set[int], size: int) -> list[tuple[int, int]]:
    """Return what holds what is left over before `ends`, from a multiple of `_WINDOW` to another, or to the end."""
    return [
        (max(0, end // _WINDOW - 1) * _WINDOW, min(size, -(-end // _WINDOW) * _WINDOW))
        for end in sorted(ends)
    ]
