"""The model card of a cut: where it comes from, how it is used, and what of the source it doesn't have."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from layerwise import __version__
from layerwise.cutting.plan import CutPlan
from layerwise.encode.cut_source import CutSource

_LICENCE = re.compile(r"^license: *(\S.*)$", re.MULTILINE)
_LONGEST = 1 << 16  # characters of a card that are searched for its licence


def card(source: CutSource, plan: CutPlan, library: str, usage: str, notes: Sequence[str]) -> str:
    """Return the text of README.md.

    Args:
        source: the model that was cut.
        plan: which of its blocks stay.
        library: the library that opens the folder, as the hub names it.
        usage: lines of Python that use the folder.
        notes: what the reader should know.
    """
    return "\n".join(
        [
            *_front_matter(source, library),
            "",
            f"# {_title(source, plan)}",
            "",
            f"Made by `layerwise cut` (layerwise {__version__}). {_content(source, plan)}",
            "",
            *(f"- {note[:1].upper()}{note[1:]}." for note in notes),
            "",
            "```python",
            usage,
            "```",
            "",
            "## Source",
            "",
            *_provenance(source, plan),
            "",
        ]
    )


def source_name(source: CutSource) -> str:
    """Return the name of a model for other people: the last part of a folder's path."""
    folder = Path(source.name)
    if source.checkpoint.revision:
        return source.name
    return (folder if folder.name.strip(".") else folder.resolve()).name


def _title(source: CutSource, plan: CutPlan) -> str:
    return f"{source_name(source)}, {_ending(plan)}"


def _ending(plan: CutPlan) -> str:
    ending = "embeddings only" if plan.at == 0 else f"cut at layer {plan.at}"
    without = ", ".join(map(str, plan.dropped))
    return f"{ending} without block{'s' if len(plan.dropped) > 1 else ''} {without}" if without else ending


def _content(source: CutSource, plan: CutPlan) -> str:
    return (
        f"It has {plan.blocks} of the {source.blocks} blocks of `{source_name(source)}` ({source.family}), with the same "
        f"tokenizer; pool: {source.pool}; at most {source.max_length} tokens."
    )


def _front_matter(source: CutSource, library: str) -> list[str]:
    licence = _licence(source)
    return [
        "---",
        f"library_name: {library}",
        *([f"base_model: {json.dumps(source.name)}"] if source.checkpoint.revision else []),
        *([f"license: {licence}"] if licence else []),
        "tags:",
        "- layerwise",
        "- feature-extraction",
        "---",
    ]


def _licence(source: CutSource) -> str | None:
    """Return the licence that the card of the source states; None without one."""
    path = source.checkpoint.files.root / "README.md"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_LONGEST)
    head = text.split("\n---", 1)[0] if text.startswith("---") else ""
    match = _LICENCE.search(head)
    return None if match is None else match[1].strip()


def _provenance(source: CutSource, plan: CutPlan) -> list[str]:
    checkpoint = source.checkpoint
    facts = {
        "model": source_name(source),
        "revision": checkpoint.revision,
        "adapter": None if checkpoint.adapter is None else checkpoint.adapter.kind,
        "layer": plan.layer,
        "blocks left out": ", ".join(map(str, plan.dropped)) or None,
        **{f"sha256 of {part}": digest for part, digest in source.hashes.items()},
    }
    return [f"- {name}: `{value}`" for name, value in facts.items() if value is not None]
