"""Every layer of every text encoder, as data.

>>> import layerwise as lw
>>> encoder = lw.load_encoder("minilm")
>>> states = encoder.encode(["Hello, world!"])
>>> states.layer("6").shape
(1, 384)
"""

TYPE_CHECKING = False  # as type checkers know it: nothing is imported here, see `__main__`
if TYPE_CHECKING:
    from typing import Any

    from layerwise.encode.encoder import Encoder
    from layerwise.encode.load import load_encoder
    from layerwise.errors import (
        DatasetError,
        HeadError,
        LayerwiseError,
        ModelError,
        OutputError,
        RequestError,
        SourceError,
    )
    from layerwise.join.analyze import analyze
    from layerwise.join.explore import explore
    from layerwise.join.export import export
    from layerwise.join.extract import extract
    from layerwise.join.features import LayerFeatures
    from layerwise.join.finish import finish
    from layerwise.join.merge import merge
    from layerwise.join.pool import pool
    from layerwise.join.predict import Head, load_head
    from layerwise.join.probe import probe
    from layerwise.join.repair import repair
    from layerwise.join.report import report
    from layerwise.join.train import train
    from layerwise.join.verify import verify
    from layerwise.learn.layer_mix import LayerMix
    from layerwise.progress import Progress
    from layerwise.show import plots
    from layerwise.states import LayerStates
    from layerwise.store import LayerDataset, open_dataset

__version__ = "0.1.0"
# Found when first used, so that `import layerwise` stays light.
_HOMES = {
    "DatasetError": "errors",
    "HeadError": "errors",
    "LayerwiseError": "errors",
    "ModelError": "errors",
    "OutputError": "errors",
    "RequestError": "errors",
    "SourceError": "errors",
    "Progress": "progress",
    "Encoder": "encode.encoder",
    "load_encoder": "encode.load",
    "analyze": "join.analyze",
    "explore": "join.explore",
    "export": "join.export",
    "extract": "join.extract",
    "finish": "join.finish",
    "merge": "join.merge",
    "repair": "join.repair",
    "pool": "join.pool",
    "load_head": "join.predict",
    "probe": "join.probe",
    "report": "join.report",
    "train": "join.train",
    "verify": "join.verify",
    "Head": "join.predict",
    "LayerFeatures": "join.features",
    "LayerMix": "learn.layer_mix",
    "LayerStates": "states",
    "LayerDataset": "store",
    "open_dataset": "store",
    "plots": "show",
}
__all__ = [
    "DatasetError",
    "Encoder",
    "Head",
    "HeadError",
    "LayerDataset",
    "LayerFeatures",
    "LayerMix",
    "LayerStates",
    "LayerwiseError",
    "ModelError",
    "OutputError",
    "Progress",
    "RequestError",
    "SourceError",
    "analyze",
    "explore",
    "export",
    "extract",
    "finish",
    "load_encoder",
    "load_head",
    "merge",
    "open_dataset",
    "plots",
    "pool",
    "probe",
    "repair",
    "report",
    "train",
    "verify",
]


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'layerwise' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"layerwise.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
