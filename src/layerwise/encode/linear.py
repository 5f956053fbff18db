"""Faster matrix products on a CPU: oneDNN on weights that are reordered once.

The two operators are those that torch's compiler emits. They are private in name, so `available` looks for them, and
`Engine` compares the layers of a repacked model with those of plain forwards.
"""

import functools
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

_ROWS = 2048  # the number of input rows that the layout of the weights is optimised for
# Instruction sets of oneDNN without products of bf16.
_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


class PackedLinear(nn.Module):
    """`torch.nn.Linear` on a reordered weight, with an exact (erf) GELU fused in if `gelu`.

    Input (…, in_features), output (…, out_features), in the type of the weight.
    """

    def __init__(self, linear: nn.Linear, *, gelu: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().contiguous(), _ROWS)
        self.bias = linear.bias
        # Some families read the type of `weight`, none reads its numbers.
        self.weight = torch.empty(0, dtype=linear.weight.dtype)
        self.fused: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` times the weight plus the bias."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, *self.fused)
        return out


@functools.cache
def available(dtype: torch.dtype = torch.float32) -> bool:
    """Return whether this torch has the operators, and they accept the type `dtype` on this processor.

    They refuse bf16 where oneDNN has AVX2 instructions at most.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    names = ("_reorder_linear_weight", "_linear_pointwise")
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(torch.ones(16, 16, dtype=dtype), _ROWS)
        torch.ops.mkldnn._linear_pointwise(torch.ones(2, 16, dtype=dtype), packed, None, "none", [], "")
    except RuntimeError:
        return False
    return True


def isa_limit() -> str | None:
    """Return the highest instruction set that environment variables allow oneDNN, in upper case; None for no limit."""
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    return isa.upper() if isa.upper() not in ("ALL", "DEFAULT") else None


def has_fast_bf16() -> bool:
    """Return whether the processor has bf16 products that oneDNN may use; without them bf16 is slower than fp32."""
    if isa_limit() in _WITHOUT_BF16:
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    flags = [getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name)]
    return any(flags) or platform.machine() in ("arm64", "aarch64")


def repack(model: nn.Module) -> None:
    """Replace every `torch.nn.Linear` of `model` by a `PackedLinear`, in place; fuse an exact GELU that follows.

    A hooked layer stays, because its output is a layer of the model, and a hook must be called with it.
    """
    for module in list(model.modules()):
        fused = fusable(module)
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and not child._forward_hooks:
                setattr(module, name, PackedLinear(child, gelu=name == fused))
        if fused is not None:
            module.intermediate_act_fn = nn.Identity()


def ceiling(precision: str, device: str, repeats: int = 7) -> float:
    """Return the GFLOP/s of a matrix product on this machine: on a CPU the better of torch's and oneDNN's.

    The shapes are 2048 x 768 by 768 x 3072 on a CPU, and 8192 x 8192 by 8192 x 8192 elsewhere, which fills a GPU. The
    time is the median of `repeats` runs, in `fp32` or `bf16`.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    on_cpu = torch.device(device).type == "cpu"
    rows, inner, outer = (_ROWS, 768, 3072) if on_cpu else (8192, 8192, 8192)
    linear = nn.Linear(inner, outer, device=device, dtype=dtype).requires_grad_(False)
    x = torch.randn(rows, inner, device=device, dtype=dtype)
    products: list[nn.Module] = [linear]
    if on_cpu and available(dtype):
        products.append(PackedLinear(linear))
    flop = 2 * rows * inner * outer
    return max(flop / 1e9 / median_seconds(partial(product, x), device, repeats) for product in products)


def median_seconds(product: Callable[[], torch.Tensor], device: str, repeats: int) -> float:
    """Return the median time of a product over `repeats` runs, after two runs for warming up."""
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 2):
            start = time.perf_counter()
            product()
            # A GPU computes asynchronously.
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def fusable(module: nn.Module) -> str | None:
    """Return the name of a module's linear layer that an exact GELU follows, as in BERT; None if it isn't so."""
    activation = getattr(module, "intermediate_act_fn", None)
    exact = (
        type(activation).__name__ == "GELUActivation"
        and getattr(activation, "act", None) is nn.functional.gelu
    )
    plain = type(activation) is nn.GELU and activation.approximate == "none"
    # A further module between them would be skipped.
    names = {name for name, _ in module.named_children()}
    if (exact or plain) and names == {"dense", "intermediate_act_fn"} and type(module.dense) is nn.Linear:
        return "dense"
    return None
