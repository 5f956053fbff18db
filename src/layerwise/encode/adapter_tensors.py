"""Read the tensors of an adapter, and check them."""

import torch
from safetensors.torch import load_file

from layerwise.arguments import argument
from layerwise.encode.adapter_files import WEIGHTS, Adapter
from layerwise.encode.model_errors import first_line
from layerwise.errors import ModelError


def read_tensors(what: str, adapter: Adapter) -> dict[str, torch.Tensor]:
    """Return the tensors of an adapter, by name.

    Args:
        what: the adapter, for errors.
        adapter: its files.

    Raises:
        ModelError: a file that can't be read, or a tensor without finite floating-point numbers.
    """
    path = adapter.folder / adapter.files.weights[0]
    try:
        is_safe = path.name == WEIGHTS
        tensors = load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
    # Errors of safetensors, and of whatever a pickle raises.
    except Exception as error:
        raise ModelError(
            f"{what}: {path.name} can't be read ({first_line(error)}); fetch the adapter again"
        ) from None
    if not isinstance(tensors, dict) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise ModelError(
            f"{what}: {path.name} holds something else than tensors by name; fetch the adapter again"
        )
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ModelError(
                f"{what}: the tensor {name[:200]!r} holds no floating-point numbers ({tensor.dtype}); fetch the adapter again"
            )
        if not torch.isfinite(tensor).all():
            raise ModelError(
                f"{what}: the tensor {name[:200]!r} holds numbers that are infinite or NaN, so it is damaged; fetch the "
                "adapter again"
            )
    return tensors


def check_shape(what: str, name: str, tensor: torch.Tensor, place: torch.Tensor) -> None:
    """Raise ModelError for a tensor of another shape than that of its place in the base."""
    is_table = "embed" in name and tensor.dim() == place.dim() == 2
    if is_table and len(tensor) != len(place) and tensor.shape[1] == place.shape[1]:
        raise ModelError(
            f"{what} has an embedding table of its own with {len(tensor)} entries and its base has {len(place)}, so tokens were "
            "added to the vocabulary; merge it into its base (merge_and_unload of peft) and give the folder of the result"
        )
    if place.shape != tensor.shape:
        raise ModelError(
            f"{what} has {name[:200]!r} of the shape {tuple(tensor.shape)}, and its base needs {tuple(place.shape)}, so it was "
            f"trained on another one; {right_base()}"
        )


def right_base() -> str:
    """Return what to do where an adapter doesn't fit its base."""
    return f"give the model that it was trained on in {argument('model')}"
