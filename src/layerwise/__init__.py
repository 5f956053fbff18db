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

    from layerwise._util.progress import Progress
    from layerwise.api.analyze import analyze
    from layerwise.api.bench import bench
    from layerwise.api.env import env
    from layerwise.api.explore import explore
    from layerwise.api.export import export
    from layerwise.api.extract import extract
    from layerwise.api.finish import finish
    from layerwise.api.info import info
    from layerwise.api.merge import merge
    from layerwise.api.pool import pool
    from layerwise.api.probe import probe
    from layerwise.api.repair import repair
    from layerwise.api.report import report
    from layerwise.api.show import show
    from layerwise.api.train import train
    from layerwise.api.verify import verify
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
    from layerwise.figures import plots
    from layerwise.heads.layer_features import LayerFeatures
    from layerwise.heads.layer_mix import LayerMix
    from layerwise.heads.predict import Head, load_head
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
    "Progress": "_util.progress",
    "Encoder": "encode.encoder",
    "load_encoder": "encode.load",
    "analyze": "api.analyze",
    "bench": "api.bench",
    "env": "api.env",
    "info": "api.info",
    "show": "api.show",
    "explore": "api.explore",
    "export": "api.export",
    "extract": "api.extract",
    "finish": "api.finish",
    "merge": "api.merge",
    "repair": "api.repair",
    "pool": "api.pool",
    "load_head": "heads.predict",
    "probe": "api.probe",
    "report": "api.report",
    "train": "api.train",
    "verify": "api.verify",
    "Head": "heads.predict",
    "LayerFeatures": "heads.layer_features",
    "LayerMix": "heads.layer_mix",
    "LayerStates": "states",
    "LayerDataset": "store",
    "open_dataset": "store",
    "plots": "figures",
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
    "bench",
    "env",
    "explore",
    "export",
    "extract",
    "finish",
    "info",
    "load_encoder",
    "load_head",
    "merge",
    "open_dataset",
    "plots",
    "pool",
    "probe",
    "repair",
    "report",
    "show",
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
    return sorted([*__all__, "__version__"])
