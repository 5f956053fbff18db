"""Attention over a packed batch: many texts in one row, each seeing only itself."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from layerwise.encode.transfer import to_device

NAME = "layerwise_packed"
NARROW = 16  # numbers of a head: of fewer the results go by the number of threads
Kernel = Callable[..., Any]


class Runs:
    """The texts of one packed batch that are in its forward.

    Attributes:
        runs: (how many texts, tokens of each), in the order in which they are packed.
        calls: how often attention was computed: some families take the name of ours and never call it.
    """

    def __init__(self, runs: Sequence[tuple[int, int]]) -> None:
        self.runs = list(runs)
        self.calls = 0
        self._borders: torch.Tensor | None = None

    def keep(self, tokens: int) -> None:
        """Keep the texts that make up the first `tokens` tokens; the others have left the forward."""
        kept, left = [], tokens
        for texts, size in self.runs:
            stay = min(texts, left // size)
            if stay:
                kept.append((stay, size))
            left -= stay * size
            if stay < texts:
                break
        if left:
            raise ValueError(f"{tokens} tokens don't end where a text of the batch ends")
        self.runs, self._borders = kept, None

    def borders(self, device: torch.device) -> torch.Tensor:
        """Return where each text begins and the last one ends, int32 (texts + 1,); the same for all blocks."""
        if self._borders is None:
            lengths = np.repeat([size for _, size in self.runs], [texts for texts, _ in self.runs])
            ends = np.concatenate([[0], lengths]).cumsum(dtype=np.int32)
            self._borders = to_device(torch.from_numpy(ends), device)
        return self._borders


def packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    lw_runs: Runs | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each text of a packed batch.

    Args:
        query, key, value: (1, heads, tokens, size of a head).
        lw_runs: the texts of the batch.
        sliding_window: local attention, keeping |i - j| < sliding_window.

    Returns:
        (1, tokens, heads, size of a head), and no weights.
    """
    if lw_runs is None:
        raise ValueError("a packed batch came without its runs")
    lw_runs.calls += 1
    kernel = varlen_kernel(query)
    if kernel is not None:
        return _by_kernel(kernel, query, key, value, lw_runs, scaling, sliding_window), None
    heads, size = value.shape[1], value.shape[3]
    # The CPU's kernel takes longer in 16 bits than in 32 with the conversion, and scores are better unrounded.
    computed = torch.float32 if value.device.type == "cpu" else value.dtype
    out = torch.empty(1, value.shape[2], heads, size, dtype=value.dtype, device=value.device)
    begin = 0
    for texts, tokens in lw_runs.runs:
        end = begin + texts * tokens
        q, k, v = (_split(x[:, :, begin:end], texts, tokens).to(computed) for x in (query, key, value))
        mask = None
        if sliding_window is not None and tokens > sliding_window:
            place = torch.arange(tokens, device=value.device)
            mask = (place[:, None] - place[None, :]).abs() < sliding_window
        q, k, v = (_widened(x) for x in (q, k, v))
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling)[..., :size]
        out[0, begin:end] = mixed.transpose(1, 2).reshape(texts * tokens, heads, size)
        begin = end
    return out, None


def varlen_kernel(query: torch.Tensor) -> Kernel | None:
    """Return torch's attention over texts of various lengths where it runs: on CUDA, in 16 bits."""
    if query.device.type != "cuda" or query.dtype not in (torch.bfloat16, torch.float16):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    kernel: Kernel = varlen_attn
    return kernel


def _by_kernel(
    kernel: Kernel,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    runs: Runs,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    """Attend within all texts at once; shapes as in `packed_attention`."""
    borders = runs.borders(query.device)
    reach = -1 if sliding_window is None else sliding_window - 1
    q, k, v = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
    longest = max(tokens for _, tokens in runs.runs)
    mixed: torch.Tensor = kernel(
        q, k, v, borders, borders, longest, longest, scale=scaling, window_size=(reach, reach)
    )
    return mixed[None]


def _widened(x: torch.Tensor) -> torch.Tensor:
    """Fill heads of less than 16 numbers up with zeros on a CPU.

    For 8 of them the kernel's products go by where the memory of a thread begins, and so by how many threads there are.
    """
    lacking = NARROW - x.shape[-1] if x.device.type == "cpu" else 0
    return nn.functional.pad(x, (0, lacking)) if lacking > 0 else x


def _split(x: torch.Tensor, texts: int, tokens: int) -> torch.Tensor:
    """(1, heads, texts x tokens, size) -> (texts, heads, tokens, size), without a copy."""
    heads, _, size = x.shape[1:]
    return x[0].reshape(heads, texts, tokens, size).transpose(0, 1)


def no_mask(**_: Any) -> None:
    """Build no mask: a packed batch has no padding."""
