"""A model that is larger than the memory is refused before it is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise._util import memory
from layerwise.encode.hf import weights
from layerwise.errors import ModelError


def numbers_of(folder: Path) -> int:
    from transformers import AutoModel

    return sum(parameter.numel() for parameter in AutoModel.from_pretrained(folder).parameters())


@pytest.mark.parametrize(("precision", "itemsize"), [("fp32", 4), ("bf16", 2)])
def test_both_sizes_are_named(
    precision: str,
    itemsize: int,
    model_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = model_folder("bert")
    needed = numbers_of(folder) * itemsize
    monkeypatch.setattr(memory, "available", lambda: needed)
    assert lw.load_encoder(folder, device="cpu", precision=precision).precision == precision

    def loaded(*arguments: Any, **settings: Any) -> Any:
        raise AssertionError("weights were read")

    monkeypatch.setattr(memory, "available", lambda: needed - 1)
    monkeypatch.setattr(weights, "_check_after_loading", loaded)
    with pytest.raises(ModelError) as caught:
        lw.load_encoder(folder, device="cpu", precision=precision)
    sizes = f"takes {needed / 1e9:.2f} GB of memory, and {(needed - 1) / 1e9:.2f} GB are available"
    assert sizes in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ("precision='bf16'" in str(caught.value)) == (precision == "fp32")


def test_random_weights_are_refused_as_well(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(
        ModelError, match="0.00 GB are available; use a smaller model, or a machine with more"
    ):
        lw.load_encoder(model_folder("bert"), device="cpu", random=1)


def test_a_system_that_does_not_say_how_much_there_is(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: None)
    assert lw.load_encoder(model_folder("bert"), device="cpu").blocks == 3
