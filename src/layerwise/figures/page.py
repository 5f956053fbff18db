"""The page: one HTML file with a dataset's map, probe, analysis and tokens, and all scripts and styles to show them.

It opens from disk and makes no network request. Data of users is in it only compressed and in base64
(`figures.packing`): the page displays it as text, and a Content-Security-Policy allows no script but ours. Otherwise
text in a dataset could run as a script in the reader's browser.

The data is a mapping, with its sentences in the form that `wording.in_language` reads. Arrays are numpy arrays;
everything else is a JSON value. All but `title` may be missing or null; the page then says what is missing.

    title       title of the page
    about       facts about the dataset: `model` (`id`, `revision`, `family`, or null), `layers`, `blocks`, `width`, `level`,
                `pool`, `rows`, `texts`, `tokens`, `unknown`, `truncated`, `truncated_tokens`, `windows`, `windowed`,
                `lost_words`, `dropped_words`, `special_only`, `special_tokens`, `skipped`, `notices`, `source`, `bytes`,
                `dtype`, `precision`, `made` or `finished`, `versions`, `sha256`; of `model` also `not_applied`, `random`
    points      the map, or null
      count, of, seed   number of points, number of rows of the dataset, seed of the sample
      method    `pca` or `umap`
      row, doc  uint32 (count,): number of the row and of the text in the dataset
      coords    int16 (layers, count, 2): −32767 … 32767 is −1 … 1, y upwards; layers are aligned
      explained (layers, 2) or null: share of variance of each axis
      columns   [{name, kind: category, values: [str], codes: uint16 (count,)}], 65535 is missing; or
                [{name, kind: number, values: float32 (count,)}], NaN is missing
      unknown   uint32 (count,) or null: how many tokens of each row the model doesn't know; null if none are
      texts     [str] or null; clipped ones end in "…", `clipped` lists their positions
      context   {docs: [int], texts: [str]} or null: below text level, the text around
      span      uint32 (count, 2) or null: start and end in the text, in code points
      neighbours  {k, points: uint32 (layers, count, k), cosines: int8 (layers, count, k), × 127} or null: among the points
    probe       content of probe.json, or null; with `short_mixes`, the shortest form of each mix string in it
    analysis    content of analysis.json, or null; its measures get a `scale`, those with directions become one for each, and
                stay whole in `directions` (`figures.measure_scale`)
    tokens      a list of texts: `doc`, `text` (or null), `count` (of its tokens), `tokens`, `special`, `unknown` (or null),
                `layers` (those of the numbers below),
                `truncated` (how many tokens were cut off),
                `norms` float32 (layers, n), `moves` float32 (layers − 1, n): cosine with the same token one layer before,
                `cosines` int8 (layers, n, n), `coords` int16 (layers, n, 2): all layers on one plane, ±32767 is ±`reach`
                in the unit of vectors of length 1; `shares`: of the variance of the lengths of `steps` and of all
                `distances`, which of it the plane shows,
                `attention` uint8 (blocks, heads, m, m), × 255, row attends to column, of the first m tokens, or null;
                `attention_layers`
    links       the first sentence pairs that `align` wrote, or null: `methods`, `layers`, `more` (whether there are others),
                and `pairs`, a list of `a`, `b` (words), `links` by method and layer, and `cut` (words of each side left out)
    costs       what `cut --table` measured, or null: `model`, `device`, `texts`, `tokens`, `rounds`, `label`, `metric`, and
                `rows`, a list of `layer`, `blocks`, `parameters`, `bytes`, `tokens_per_s`, `score`, `low`, `high`, `coarse`
    tokens_note why there are no tokens, or null
    versions    versions of libraries, by name
    notes       sentences
    messages    the messages of `title`, `notes` and `tokens_note`

A page made with `remote=True` contains only `title` and requests the rest from its server, at `api/`, as JSON in which
arrays have the form that `encoded` returns:

    head                        the mapping above, in which `points.coords` and `.texts` are null
    coords?layer=6&start=0&count=5000   int16 (count, 2), of the points from number `start`
    text?rows=1,2               [{row, text, context, start, end}], the last three if present
    neighbours?row=5&layer=6&k=10       [{point or null, row, text, …, cosine}] over the whole layer, nearest first
    search?q=…                  {points: [of the map], rows: [of the dataset, the first ones], total}
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import numpy as np

from layerwise.choices import LANGS, one_of
from layerwise.figures.measure_scale import with_scales
from layerwise.figures.packing import Array, ArrayPacker, letters, narrow
from layerwise.wording import catalogue, in_language

# What keys of texts begin with that only Python uses.
NOT_ON_THE_PAGE = (
    "advise.",
    "align.",
    "design.",
    "figure.",
    "markdown.",
    "note.",
    "retrieval.",
    "source.",
    "terminal.",
    "transfer.",
    "unit.",
)
# In the order in which they run: each file uses definitions of those before it.
SCRIPTS = (
    *(
        "words",
        "dom",
        "source",
        "marks",
        "colours",
        "neighbours",
        "scene",
        "map",
        "charts",
        "layers",
        "chosen",
    ),
    *(
        "panel",
        "header",
        "probe",
        "learned",
        "matrix",
        "compare",
        "leakage",
        "directions",
        "geometry",
        "tokens",
        "wordlinks",
        "costs",
        "attention",
        "main",
    ),
)


def page(data: Mapping[str, Any], lang: str = "en", remote: bool = False) -> str:
    """Return the page as HTML, the same for the same data.

    Args:
        data: the content; the module's docstring defines its shape.
        lang: `en` or `zh`.
        remote: return a page that contains only the title and requests the data from its server.

    Raises:
        RequestError: an unknown language.
    """
    one_of("lang", lang, LANGS)
    content: Mapping[str, Any] = {"title": data.get("title"), "remote": True}
    if not remote:
        content = in_language({**data, "analysis": with_scales(data.get("analysis"))}, lang)
    # Runs as a module: strict mode, and no names in the global scope.
    script = "".join(f"// {name}.js\n{_static(f'{name}.js')}\n" for name in SCRIPTS)
    style = _static("page.css")
    parts = {
        "lang": {"en": "en", "zh": "zh-Hans"}[lang],
        "policy": _policy(script, style, remote),
        "style": style,
        "words": _words(lang),
        "data": b64encode(gzip.compress(_packed(content), 6, mtime=0)).decode(),
        "script": script,
    }
    html = _static("page.html")
    for name, part in parts.items():
        before, after = html.split(f"{{{{{name}}}}}")
        html = before + part + after
    return html


def _words(lang: str) -> str:
    """Return the texts that the scripts of the page use, as JSON."""
    words = {key: text for key, text in catalogue(lang).items() if not key.startswith(NOT_ON_THE_PAGE)}
    return json.dumps(words, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def as_json(data: Any) -> str:
    """Return data as ASCII JSON: arrays in the form of `encoded`, numbers that aren't finite as null."""
    return json.dumps(encoded(data), allow_nan=False, separators=(",", ":"))


def encoded(value: Any, array: Callable[[Array], Any] | None = None) -> Any:
    """Return a value with only JSON types.

    Args:
        value: mappings, sequences, strings, numbers and arrays.
        array: function that converts an array; by default to `{dtype, shape, data}`, its bytes little-endian in base64.
    """
    if isinstance(value, np.ndarray):
        return (array or _in_base64)(value)
    if isinstance(value, Mapping):
        return {str(key): encoded(item, array) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(item, array) for item in value]
    if isinstance(value, np.generic):
        return encoded(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _in_base64(array: Array) -> dict[str, Any]:
    narrowed = narrow(array)
    return {
        "dtype": narrowed.dtype.name,
        "shape": list(narrowed.shape),
        "data": b64encode(narrowed.tobytes()).decode(),
    }


def _packed(data: Mapping[str, Any]) -> bytes:
    points = data.get("points") or {}
    short = {"texts": points["texts"] and letters(points["texts"])} if "texts" in points else {}
    if points.get("context"):
        short["context"] = points["context"] | {"texts": letters(points["context"]["texts"])}
    packing = ArrayPacker()
    whole = {**data, "points": {**points, **short}} if short else data
    return packing.packed(encoded(whole, packing.array))


def _policy(script: str, style: str, remote: bool) -> str:
    """Return the Content-Security-Policy: only our script and style, identified by hash, may run or load."""
    rules = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",
        "connect-src": "'self'" if remote else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _static(name: str) -> str:
    return (resources.files("layerwise.figures") / "static" / name).read_text(encoding="utf-8")
