"""Every layer of every text encoder, as data.

>>> import layerwise as lw
>>> encoder = lw.load_encoder("minilm")
>>> states = encoder.encode(["Hello, world!"])
>>> states.layer("6").shape
(1, 384)
"""

TYPE_CHECKING = False  # True for type checkers; `typing` isn't imported here, see `__main__`
if TYPE_CHECKING:
    from typing import Any

    from layerwise._util.progress import Progress
    from layerwise.api.align import align
    from layerwise.api.analyze import analyze
    from layerwise.api.bench import bench
    from layerwise.api.cut import cut
    from layerwise.api.env import env
    from layerwise.api.evaluate import evaluate
    from layerwise.api.explore import explore
    from layerwise.api.export import export
    from layerwise.api.extract import extract
    from layerwise.api.finish import finish
    from layerwise.api.info import info
    from layerwise.api.merge import merge
    from layerwise.api.pool import pool
    from layerwise.api.predict import predict
    from layerwise.api.probe import probe
    from layerwise.api.repair import repair
    from layerwise.api.report import report
    from layerwise.api.show import show
    from layerwise.api.train import train
    from layerwise.api.verify import verify
    from layerwise.cutting.result import CutModel
    from layerwise.cutting.table import CutTable
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.load import load_encoder
    from layerwise.encode.overview import Overview
    from layerwise.errors import (
        DatasetError,
        HeadError,
        LayerwiseError,
        ModelError,
        OutputError,
        RequestError,
        SourceError,
    )
    from layerwise.extraction.repair import Repair
    from layerwise.extraction.speed import Benchmark
    from layerwise.extraction.verify import Verification
    from layerwise.figures import plots
    from layerwise.geometry.analysis import Analysis
    from layerwise.geometry.word_alignment.result import Alignment
    from layerwise.heads.evaluation import Evaluation
    from layerwise.heads.layer_features import LayerFeatures
    from layerwise.heads.layer_mix import LayerMix
    from layerwise.heads.predict import Head, load_head
    from layerwise.heads.predictions import Predictions
    from layerwise.page.backend import NotebookPage
    from layerwise.probing.results import ProbeResult
    from layerwise.results import Facts
    from layerwise.states import LayerStates
    from layerwise.store import LayerDataset, open_dataset
    from layerwise.store.export_result import Export
    from layerwise.store.transform_file import load_transform
    from layerwise.transforms import Transform

__version__ = "0.2.0"
# The module of each name, imported when the name is first used: `import layerwise` stays light.
_MODULES = {
    "DatasetError": "errors",
    "HeadError": "errors",
    "LayerwiseError": "errors",
    "ModelError": "errors",
    "OutputError": "errors",
    "RequestError": "errors",
    "SourceError": "errors",
    "Progress": "_util.progress",
    "Alignment": "geometry.word_alignment.result",
    "Analysis": "geometry.analysis",
    "Benchmark": "extraction.speed",
    "CutModel": "cutting.result",
    "CutTable": "cutting.table",
    "Evaluation": "heads.evaluation",
    "Export": "store.export_result",
    "Facts": "results",
    "NotebookPage": "page.backend",
    "Overview": "encode.overview",
    "Predictions": "heads.predictions",
    "ProbeResult": "probing.results",
    "Repair": "extraction.repair",
    "Transform": "transforms",
    "Verification": "extraction.verify",
    "Encoder": "encode.encoder",
    "load_encoder": "encode.load",
    "align": "api.align",
    "analyze": "api.analyze",
    "bench": "api.bench",
    "cut": "api.cut",
    "env": "api.env",
    "info": "api.info",
    "show": "api.show",
    "evaluate": "api.evaluate",
    "explore": "api.explore",
    "export": "api.export",
    "extract": "api.extract",
    "finish": "api.finish",
    "merge": "api.merge",
    "repair": "api.repair",
    "pool": "api.pool",
    "predict": "api.predict",
    "load_head": "heads.predict",
    "load_transform": "store.transform_file",
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
    "Alignment",
    "Analysis",
    "Benchmark",
    "CutModel",
    "CutTable",
    "DatasetError",
    "Encoder",
    "Evaluation",
    "Export",
    "Facts",
    "Head",
    "HeadError",
    "LayerDataset",
    "LayerFeatures",
    "LayerMix",
    "LayerStates",
    "LayerwiseError",
    "ModelError",
    "NotebookPage",
    "OutputError",
    "Overview",
    "Predictions",
    "ProbeResult",
    "Progress",
    "Repair",
    "RequestError",
    "SourceError",
    "Transform",
    "Verification",
    "align",
    "analyze",
    "bench",
    "cut",
    "env",
    "evaluate",
    "explore",
    "export",
    "extract",
    "finish",
    "info",
    "load_encoder",
    "load_head",
    "load_transform",
    "merge",
    "open_dataset",
    "plots",
    "pool",
    "predict",
    "probe",
    "repair",
    "report",
    "show",
    "train",
    "verify",
]


def __getattr__(name: str) -> "Any":
    if name not in _MODULES:
        raise AttributeError(f"module 'layerwise' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"layerwise.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
