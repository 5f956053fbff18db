"""Results of probes as JSON: a full one, and the least that one holds."""

import copy
from typing import Any

import numpy as np

BASELINES: dict[str, dict[str, float | None]] = {
    "majority": {"score": 0.509, "low": 0.5, "high": 0.52},
    "bag_of_words": {"score": 0.805, "low": 0.79, "high": 0.81},
    "emb": {"score": 0.804, "low": 0.79, "high": 0.81},
    "random_model": {"score": 0.803, "low": 0.78, "high": 0.82},
    "shuffled_labels": {"score": 0.5, "low": None, "high": None},
}


def probe_result(blocks: int = 6, control: bool = False) -> dict[str, Any]:
    """A result as `probe.json` holds it, deepest layer first, with every field filled."""
    layers = ["emb", *map(str, range(1, blocks + 1))]
    mixes = {name: [name] for name in reversed(layers)}
    mixes |= {f"{how}({','.join(layers)})": layers for how in ("mean", "concat", "learned")}
    candidates = []
    for i, (mix, names) in enumerate(mixes.items()):
        score = 0.8 + 0.05 * np.sin(i)
        candidates.append(
            {
                "mix": mix,
                "kind": "layer" if len(names) == 1 else "mix",
                "layers": names,
                "score": score,
                "low": score - 0.012,
                "high": score + 0.015,
                "p_vs_best": [0.0004, 0.02, 0.5, 1.0][i % 4],
                "control": 0.6 if control else None,
                "selectivity": score - 0.6 if control else None,
                "codelength": {"bits": 2345.6, "compression": 2.9},
                "cost": min(i / blocks, 1.0),
                "bytes_per_row": 768 * len(names),
                "scores": {"accuracy": score, "macro_f1": {"score": 0.777, "low": None, "high": None}},
            }
        )
    return {
        "task": "classify",
        "label": "label",
        "metric": "accuracy",
        "rows": 5000,
        "candidates": candidates,
        "chosen": {"score": 0.835, "low": 0.82, "high": 0.85},
        "baselines": copy.deepcopy(BASELINES),
        "advice": {"best": candidates[2]["mix"], "cheapest": "2", "differs": True, "text": "Take layer 2."},
        "notes": ["3 rows without a label are left out"],
        "learned": {
            "weights": {name: {"value": 1 / 7, "low": 0.1, "high": 0.2} for name in layers},
            "logit_variance": {name: {"value": 0.25, "low": None, "high": None} for name in layers},
            "left_out": dict.fromkeys(layers),
            "caution": "Layers that resemble each other share weight.",
        },
        "seed": 7,
        "versions": {"layerwise": "0.3", "numpy": "2.4"},
        "made": "2026-01-01",
        "design": "5 × 5 nested folds by text",
    }


def bare_result() -> dict[str, Any]:
    """The least that a result holds: one candidate, and null wherever null may stand."""
    empty = ("low", "high", "p_vs_best", "selectivity", "codelength", "cost")
    return {
        "task": "regress",
        "label": "y",
        "metric": "r2",
        "rows": 30,
        "candidates": [{"mix": "mean(1,2)", "score": -0.25, **dict.fromkeys(empty)}],
        "chosen": None,
        "baselines": {},
        "advice": {"best": None, "cheapest": None, "differs": False, "text": "Nothing is told apart."},
    }
