"""Attention over a packed batch: many texts in one row without padding, each token attending to its own text only.

transformers calls this function in place of its own attention, once `hf.modules.use_packed_attention` has registered it. It
gets the lengths of the texts as `Runs`, an extra argument of the forward (`lw_runs`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from layerwise.encode import reach
from layerwise.encode.transfer import to_device

NAME = "layerwise_packed"
# Heads with fewer numbers than this: torch's products on a CPU depend on the number of threads, see `_widened`.
NARROW = 16
Kernel = Callable[..., Any]
_BLOCK = 1024  # tokens of a long text that attend at a time
# Arguments of attention, by the names that transformers gives them, which change the result and aren't supported here.
_UNSUPPORTED = ("s_aux", "position_bias")


class Runs:
    """The texts of one packed batch that are in its forward.

    Attributes:
        runs: (number of texts, tokens of each), in the order in which they are packed.
        causal: whether tokens attend only to those before them, where a block doesn't state it.
        calls: how often attention was computed. Some families accept the name of our attention and never call it.
    """

    def __init__(self, runs: Sequence[tuple[int, int]], *, causal: bool = False) -> None:
        self.runs, self.causal = list(runs), causal
        self.calls = 0
        self._borders: torch.Tensor | None = None

    def keep(self, tokens: int) -> None:
        """Keep the texts that make up the first `tokens` tokens; the others have left the forward.

        Raises:
            ValueError: no text ends after `tokens` tokens.
        """
        runs, remaining = [], tokens
        for texts, size in self.runs:
            staying = min(texts, remaining // size)
            if staying:
                runs.append((staying, size))
            remaining -= staying * size
            if staying < texts:
                break
        if remaining:
            raise ValueError(f"{tokens} tokens don't end where a text of the batch ends")
        self.runs, self._borders = runs, None

    def borders(self, device: torch.device) -> torch.Tensor:
        """Return where each text begins, and where the last one ends: int32 (texts + 1,)."""
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
    is_causal: bool | None = None,
    softcap: float | None = None,
    lw_runs: Runs | None = None,
    **further: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each text of a packed batch.

    Args:
        module: the attention of a block, which states by `is_causal` whether a token attends to later ones.
        query: (1, heads, tokens, size of a head).
        key, value: (1, heads, tokens, size of a head), with as many heads or with one for each group of heads.
        lw_runs: the texts of the batch.
        sliding_window: local attention, keeping |i - j| < sliding_window.
        is_causal: as that of the module, and overrides it.
        softcap: the bound c of scores: c * tanh(score / c).
        further: of these, attention sinks and biases would change the result.

    Returns:
        (1, tokens, heads, size of a head), and None in place of the attention weights.

    Raises:
        ValueError: no runs, or an argument that this attention doesn't have.
    """
    if lw_runs is None:
        raise ValueError("a packed batch came without its runs")
    if any(further.get(name) is not None for name in _UNSUPPORTED):
        raise ValueError("attention sinks and biases can't be packed")
    lw_runs.calls += 1
    if is_causal is None:
        is_causal = bool(getattr(module, "is_causal", lw_runs.causal))
    reach.record_attention(is_causal, sliding_window)
    kernel = varlen_kernel(query) if softcap is None else None
    if kernel is not None:
        return _by_kernel(kernel, query, key, value, lw_runs, scaling, sliding_window, is_causal), None
    heads, size = query.shape[1], value.shape[3]
    # Before narrow heads are widened.
    scaling = query.shape[3] ** -0.5 if scaling is None else scaling
    # On a CPU 16 bits are slower than float32 with the conversion, and less exact.
    dtype = torch.float32 if value.device.type == "cpu" else value.dtype
    out = torch.empty(1, value.shape[2], heads, size, dtype=value.dtype, device=value.device)
    begin = 0
    # Texts of one length form a rectangle without padding, so they take one call and no mask for padding.
    for texts, tokens in lw_runs.runs:
        end = begin + texts * tokens
        q, k, v = (_split(x[:, :, begin:end], texts, tokens).to(dtype) for x in (query, key, value))
        q, k, v = _widened(q), _widened(_of_each_head(k, heads)), _widened(_of_each_head(v, heads))
        mixed = _attend(q, k, v, scaling, sliding_window, softcap, is_causal=is_causal)[..., :size]
        out[0, begin:end] = mixed.transpose(1, 2).reshape(texts * tokens, heads, size)
        begin = end
    return out, None


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scaling: float,
    window: int | None,
    softcap: float | None,
    *,
    is_causal: bool,
) -> torch.Tensor:
    """Attend within texts of one length: (texts, heads, tokens, size) each; arguments as of `packed_attention`."""
    tokens = q.shape[2]
    local = window is not None and tokens > window
    if not local and softcap is None:
        return scaled_dot_product_attention(q, k, v, scale=scaling, is_causal=is_causal)
    if window is not None and is_causal and softcap is None and tokens > max(_BLOCK, 2 * window):
        return _attend_in_blocks(q, k, v, scaling, window)
    positions = torch.arange(tokens, device=q.device)
    mask = _mask(positions, positions, window if local else None, is_causal=is_causal)
    if softcap is None:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling)
    scores = softcap * torch.tanh(q @ k.transpose(2, 3) * scaling / softcap)
    weights = scores.masked_fill(~mask, -math.inf).float().softmax(-1)
    return weights.to(v.dtype) @ v


def _attend_in_blocks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scaling: float, window: int
) -> torch.Tensor:
    """Attend to the `window` last tokens, some tokens of a long text at a time: a whole mask grows with its square."""
    tokens, blocks = q.shape[2], []
    for begin in range(0, tokens, _BLOCK):
        end, first = min(begin + _BLOCK, tokens), max(0, begin - window + 1)
        queries = torch.arange(begin, end, device=q.device)
        mask = _mask(queries, torch.arange(first, end, device=q.device), window, is_causal=True)
        keys, values = k[:, :, first:end], v[:, :, first:end]
        blocks.append(
            scaled_dot_product_attention(q[:, :, begin:end], keys, values, attn_mask=mask, scale=scaling)
        )
    return torch.cat(blocks, dim=2)


def _mask(queries: torch.Tensor, keys: torch.Tensor, window: int | None, *, is_causal: bool) -> torch.Tensor:
    """Return which tokens attend to which, given their positions: (queries, keys), True where they do."""
    distances = queries[:, None] - keys[None, :]
    mask = torch.ones_like(distances, dtype=torch.bool) if window is None else distances.abs() < window
    return mask & (distances >= 0) if is_causal else mask


def varlen_kernel(query: torch.Tensor) -> Kernel | None:
    """Return torch's attention over texts of various lengths; None where it doesn't run (it needs CUDA and 16 bits)."""
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
    is_causal: bool,
) -> torch.Tensor:
    """Attend within all texts at once; shapes as in `packed_attention`."""
    borders = runs.borders(query.device)
    # The kernel counts neighbours to each side, and `sliding_window` counts the token itself as well; -1 is no limit.
    window_side = -1 if sliding_window is None else sliding_window - 1
    q, k, v = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
    longest = max(tokens for _, tokens in runs.runs)
    sides = (window_side, 0 if is_causal else window_side)
    grouped = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    mixed: torch.Tensor = kernel(
        q, k, v, borders, borders, longest, longest, scale=scaling, window_size=sides, **grouped
    )
    return mixed[None]


def _widened(x: torch.Tensor) -> torch.Tensor:
    """Pad heads of less than 16 numbers with zeros on a CPU.

    With 8 numbers the products depend on the address where a thread's memory begins, and so on the number of threads.
    """
    missing = NARROW - x.shape[-1] if x.device.type == "cpu" else 0
    return nn.functional.pad(x, (0, missing)) if missing > 0 else x


def _of_each_head(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Repeat keys or values of groups of heads: (texts, groups, tokens, size) -> (texts, heads, tokens, size)."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)


def _split(x: torch.Tensor, texts: int, tokens: int) -> torch.Tensor:
    """Return a view: (1, heads, texts x tokens, size) -> (texts, heads, tokens, size)."""
    heads, _, size = x.shape[1:]
    return x[0].reshape(heads, texts, tokens, size).transpose(0, 1)


def no_mask(
    attention_mask: torch.Tensor | None = None,
    mask_function: Callable[..., Any] | None = None,
    q_length: int = 0,
    **_: Any,
) -> None:
    """Return no mask: a packed batch has no padding."""
    # Only a text alone in its forward comes with its own mask.
    if attention_mask is not None:
        reach.record_mask(mask_function, q_length)


def head_size(model: nn.Module) -> int:
    """Return the number of numbers of the model's narrowest attention head; 1,000,000 where no module states it."""
    names = ("attention_head_size", "head_dim", "key_value_proj_dim")
    stated = [getattr(module, name, None) for module in model.modules() for name in names]
    return min((size for size in stated if isinstance(size, int)), default=1_000_000)
