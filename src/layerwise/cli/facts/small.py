"""The facts on cut models, small vectors and their transforms, for people."""

from typing import Any

from layerwise._util.display import count_of
from layerwise.cli import output


def cut_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the facts on a cut model, with their names."""
    what = {"onnx": "ONNX", "static": "table of token vectors"}[facts["to"]]
    rows = [("cut", f"{facts['path']} ({what}, {output.size(facts['bytes'])})"), *source_rows(facts)]
    if facts["outputs"]:
        rows.append(("outputs", ", ".join(facts["outputs"])))
    rows += [
        (f"int8 {name}", f"error of {error:.2g} of the length") for name, error in facts["errors"].items()
    ]
    width = f"{count_of(facts['blocks'], 'block')}, " if facts["to"] == "onnx" else ""
    return [
        *rows,
        (
            "width",
            f"{width}{count_of(facts['width'], 'number')} per vector, {count_of(facts['parameters'], 'parameter')}",
        ),
    ]


def source_rows(cut: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return which model a cut is of, where it ends, and when it was made."""
    source, dropped = cut["source"], cut["dropped"]
    without = f" without blocks {', '.join(map(str, dropped))}" if dropped else ""
    return [
        ("cut from", f"{source['id']} ({source['family']}), layer {cut['at']}{without}"),
        ("its weights", f"sha256 {source['weights']}"),
        ("cut made", cut["made"]),
        ("versions", ", ".join(f"{name} {number}" for name, number in cut["versions"].items())),
    ]


def export_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the facts on small vectors, with their names."""
    recall = facts["recall"]
    score = (
        "not measured"
        if recall is None
        else (
            f"{recall['score']:.4f} against exact search; {count_of(recall['queries'], 'query', 'queries')}, "
            f"{count_of(recall['rows'], 'row')}"
        )
    )
    model = facts["dataset"].get("model")
    return [
        ("export", f"{facts['path']} ({facts['to']}, {output.size(facts['bytes'])})"),
        ("rows", f"{facts['rows']:,} of level {facts['level']}, {facts['bytes_per_row']:,.0f} bytes each"),
        ("numbers", f"{facts['numbers']} of {facts['dtype']}, of {facts['width']} before"),
        (f"recall@{10 if recall is None else recall['k']}", score),
        *_fitted(facts["transform"]),
        *([("dataset", facts["dataset"]["path"])] if "path" in facts["dataset"] else []),
        *(
            [("weights", f"sha256 {model['weights']}")]
            if isinstance(model, dict) and "weights" in model
            else []
        ),
        ("made", facts["made"]),
        ("versions", ", ".join(f"{name} {number}" for name, number in facts["versions"].items())),
    ]


def transform_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the facts on a transform, with their names."""
    return [
        ("transform", f"{facts['path']} ({facts['to']})"),
        ("numbers", f"{facts['numbers']} of {facts['dtype']}, of {facts['width']} before"),
        *_fitted(facts),
    ]


def _fitted(transform: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return which vectors a transform is for, and the rows that it was fitted on."""
    pool = f", pool {transform['pool']}" if transform["pool"] else ""
    of_head = " of a head" if transform["of_head"] else ""
    split = f", with train in {transform['split']}" if transform["split"] else ""
    return [
        ("mix", f"{transform['mix']}{of_head}, level {transform['level']}{pool}"),
        ("model", transform["model"] or "not known"),
        ("fitted on", f"{count_of(transform['fitted_rows'], 'row')}{split}"),
    ]
