"""Export a module as ONNX, run it with ONNX Runtime, and quantise it: the only file that knows these libraries."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from layerwise._util.silence import silenced
from layerwise.arguments import argument
from layerwise.encode.hf import reports
from layerwise.errors import ModelError, RequestError

PIP = "pip install 'layerwise[onnx]'"
Arrays = Mapping[str, NDArray[Any]]


def check_installed() -> None:
    """Check that everything is installed, before a model is loaded.

    Raises:
        RequestError: with the line of pip.
    """
    try:
        with silenced():
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
    except ImportError as error:
        raise RequestError(
            f"{argument('to', 'onnx')} needs {error.name or 'onnx'}, which isn't installed; {PIP}"
        ) from None


def export(
    module: nn.Module, inputs: Mapping[str, torch.Tensor], outputs: Sequence[str], path: Path, name: str
) -> None:
    """Write a module as an ONNX file whose first two axes are dynamic.

    Args:
        module: takes the inputs by name, and returns a tuple of the outputs.
        inputs: an example, each (batch, length), with more than one text and token.
        outputs: the names of the outputs.
        path: the file; weights of more than 2 GB go into a second one beside it.
        name: what the message of an error calls the model.

    Raises:
        ModelError: torch can't export it.
    """
    dynamic = torch.export.Dim.DYNAMIC
    shapes = {key: {0: dynamic, 1: dynamic} for key in inputs}
    try:
        with reports.quiet(), silenced(), _unlogged(), torch.inference_mode(False), torch.no_grad():
            program: Any = torch.onnx.export(
                module,
                (),
                kwargs=dict(inputs),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
    # The exporter raises what any of its stages, and the code of the model, raise.
    except Exception as error:
        raise ModelError(
            f"model {name} can't be exported to ONNX: torch.onnx stops with {_reason(error)}; write "
            f"{argument('to', 'folder')} instead"
        ) from None
    with silenced(), _unlogged():
        program.save(path)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Log only errors until the end of the block; the exporter and the quantiser log what nobody can act on."""
    loggers = [logging.getLogger(), logging.getLogger("torch.onnx")]
    levels, handlers = [logger.level for logger in loggers], list(loggers[0].handlers)
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        loggers[0].handlers[:] = handlers  # `logging.warning` adds one
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """Return the type and the first line of what caused an error of the exporter."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = next((line for line in str(error).splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {line.strip()[:150]}"


def run(
    path: Path, batches: Sequence[Arrays], outputs: Sequence[str]
) -> list[dict[str, NDArray[np.float32]]]:
    """Return the outputs of each batch by ONNX Runtime, on this machine's processor, by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [dict(zip(outputs, session.run(list(outputs), dict(batch)), strict=True)) for batch in batches]


def quantise(source: Path, target: Path) -> None:
    """Write an ONNX file with int8 weights, whose activations are quantised while it runs."""
    with silenced(), _unlogged():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8)
