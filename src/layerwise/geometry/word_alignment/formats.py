"""Links as lines of a file: JSON, or the Pharaoh format of machine translation (`0-0 1-2`)."""

import json
from collections.abc import Callable, Collection, Sequence

from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.geometry.word_alignment.result import AlignedPair

ToLine = Callable[[AlignedPair], str]


def line_format(to: str, methods: Collection[str], layers: Sequence[str]) -> ToLine:
    """Return a function from the links of a sentence pair to its line.

    Args:
        to: one of `ALIGNMENT_FORMATS`.
        methods, layers: those that are aligned.

    Raises:
        RequestError: more than the one layer and method that Pharaoh has room for.
    """
    if to == "jsonl":
        return lambda pair: json.dumps(pair.to_json(), ensure_ascii=False)
    if len(methods) != 1 or len(layers) != 1:
        counts = f"{count_of(len(layers), 'layer')} and {count_of(len(methods), 'method')}"
        raise RequestError(
            f"{argument('to', 'pharaoh')} has room for one layer and one method, and these are {counts}; give "
            f"{argument('layers')} one of {', '.join(layers)} and {argument('method')} one of {', '.join(methods)}, or "
            f"{argument('to', 'jsonl')}"
        )
    (method,), (layer,) = methods, layers
    return lambda pair: " ".join(f"{a}-{b}" for a, b in pair.links[method][layer])
