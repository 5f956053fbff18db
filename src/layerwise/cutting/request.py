"""Check which options of `cut` go together, before a model is loaded."""

from pathlib import Path
from typing import Any

from layerwise._util.paths import local_path
from layerwise.arguments import argument
from layerwise.choices import CUT_FORMATS, CUT_PRECISIONS, one_of
from layerwise.cutting.onnx_runtime import check_installed
from layerwise.errors import RequestError
from layerwise.options import CutOptions

# Options that only mean something with another one.
_ONNX = ("mix", "head", "precision")


def check_table(options: CutOptions, out: str | Path | None) -> Path | None:
    """Return the file to write the table to; `None` without one.

    Raises:
        RequestError: an option that has no effect on the table, which has every layer.
    """
    useless = [name for name in ("at", "drop", *_ONNX) if _is_given(options, name)]
    useless += ["static"] if options.static else []
    useless += ["to"] if options.to != "folder" else []
    if useless:
        raise RequestError(
            f"{argument('table', True)} measures the model cut at every layer and writes none; "
            f"{argument(useless[0], getattr(options, useless[0]))} has no effect on it, leave it out"
        )
    return None if out is None else local_path(out)


def check_cut(options: CutOptions, out: str | Path | None) -> Path:
    """Return the folder to write to.

    Raises:
        RequestError: an option that doesn't exist, or that has no effect with the others.
    """
    one_of("to", options.to, CUT_FORMATS)
    one_of("precision", options.precision, CUT_PRECISIONS)
    _check_onnx(options)
    _check_static(options)
    if options.at is None and options.drop is None and options.mix is None and options.head is None:
        raise RequestError(
            f"cut needs the layer that the model ends at; give {argument('at', '4')}, or {argument('at', 'emb')} for the "
            "embeddings alone"
        )
    if options.probe is not None and options.drop is None:
        raise RequestError(
            f"{argument('probe')} says what {argument('drop')} costs, or goes into the table of {argument('table', True)}; "
            "give one of them, or leave it out"
        )
    if options.probe is not None and options.to != "folder":
        raise RequestError(
            f"{argument('probe')} scores the folder of a model without some blocks; {argument('to', options.to)} has none, "
            "leave one of them out"
        )
    if out is None:
        raise RequestError(f"cut writes a new folder; name it in {argument('out')}")
    return local_path(out)


def _check_onnx(options: CutOptions) -> None:
    useless = next((name for name in _ONNX if _is_given(options, name)), None)
    if options.to != "onnx" and useless is not None:
        raise RequestError(
            f"{argument(useless, getattr(options, useless))} needs {argument('to', 'onnx')}: a folder of transformers gives "
            "layers; add it, or leave this out"
        )
    if options.to == "onnx":
        check_installed()
    names = [name for name in ("mix", "head") if getattr(options, name) is not None]
    if names and options.drop is not None:
        raise RequestError(
            f"{argument(names[0], getattr(options, names[0]))} names layers of the whole model, and "
            f"{argument('drop', options.drop)} changes them; leave one of them out"
        )
    if options.mix is not None and options.head is not None:
        raise RequestError(
            f"{argument('mix', options.mix)} and {argument('head', options.head)} exclude each other: a head has its own mix; "
            "leave one of them out"
        )


def _check_static(options: CutOptions) -> None:
    others = ("drop", "mix", "head", "probe")
    useless = next((name for name in others if _is_given(options, name)), None)
    if options.static and (useless is not None or options.to != "folder"):
        name, value = ("to", options.to) if useless is None else (useless, getattr(options, useless))
        raise RequestError(
            f"{argument('static', True)} writes a table of the token vectors of one layer; {argument(name, value)} has no effect "
            "on it, leave it out"
        )


def _is_given(options: CutOptions, name: str) -> Any:
    value = getattr(options, name)
    return value is not None and value != "fp32"
