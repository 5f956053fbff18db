"""Write a cut as a folder that transformers and sentence-transformers open, and compare it before it is done."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerwise.cutting.card import card
from layerwise.cutting.description import described
from layerwise.cutting.plan import CutPlan
from layerwise.cutting.recipe import recipe_files
from layerwise.cutting.result import CutModel
from layerwise.encode.checkpoint import find_checkpoint
from layerwise.encode.cut_model import ShortModel, short_model, stored_size, stored_tensors
from layerwise.encode.cut_parity import CutParity, check_parity
from layerwise.encode.cut_source import CutSource
from layerwise.encode.hf import loading, saving
from layerwise.encode.weight_names import POOLER
from layerwise.store import disk
from layerwise.store.layout import to_json
from layerwise.wording import Message

_USAGE = """\
from sentence_transformers import SentenceTransformer
model = SentenceTransformer("path/to/this/folder")
vectors = model.encode(["Hello, world!"])"""
_TRANSFORMERS = """\
from transformers import AutoModel, AutoTokenizer
path = "path/to/this/folder"
tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path)
outputs = model(**tokenizer("Hello, world!", return_tensors="pt"), output_hidden_states=True)
{layer}"""
_LEGAL = ("license*", "licence*", "notice*")


def write_folder(source: CutSource, plan: CutPlan, folder: Path) -> CutModel:
    """Write a cut into an existing empty folder.

    Returns:
        what was written; `out` is the name of the folder.

    Raises:
        ModelError: a family whose blocks can't be cut.
    """
    short = short_model(source, plan.at, plan.dropped)
    saving.save_model(short.model, stored_tensors(short, source), source.stored_type, folder)
    write_tokenizer(source, folder)
    width = source.references.width
    for name, content in recipe_files(source, width).items():
        write_json(folder / name, content)
    reopened = loading.load(find_checkpoint(folder), device=_device(source))
    parity = check_parity(source, short, reopened.model)
    notes = cut_notes(source, short, parity)
    text = card(source, plan, "sentence-transformers", _usage(parity), notes)
    disk.write_file(folder / "README.md", text.encode())
    written = CutModel(
        out=str(folder),
        to="folder",
        at=plan.layer,
        dropped=plan.dropped,
        blocks=plan.blocks,
        width=width,
        parameters=stored_size(short, source)[0],
        bytes=0,
        source=source_facts(source),
        parity=_parity_facts(parity),
        notes=notes,
    )
    return described(written, source, folder)


def write_tokenizer(source: CutSource, folder: Path) -> None:
    """Write the files of a model's tokenizer as they are, and those of its licence.

    A tokenizer of Google's, whose settings are in the name of its folder, is written as transformers does.
    """
    checkpoint = source.checkpoint
    root = checkpoint.files.root
    if checkpoint.do_lower_case is not None:
        saving.save_tokenizer(source.loaded, folder)
    else:
        for name in checkpoint.files.tokenizer:
            disk.write_file(folder / Path(name).name, (root / name).read_bytes())
    for path in sorted(root.iterdir()):
        if path.is_file() and any(path.name.lower().startswith(start.rstrip("*")) for start in _LEGAL):
            disk.write_file(folder / path.name, path.read_bytes())


def write_json(path: Path, content: Any) -> None:
    """Write JSON to a path of a new folder, whose folders are made."""
    disk.make_folder(path.parent)
    disk.write_file(path, to_json(content))


def cut_notes(source: CutSource, short: ShortModel, parity: CutParity) -> tuple[Message, ...]:
    """Return what a reader of a cut should know: where its layer is found, and what of the source it lacks."""
    notes: list[Message] = []
    if parity.normed:
        kind = "empty" if not short.kept else "states" if parity.hidden is not None else "only"
        notes.append(Message(f"note.cut.normed.{kind}", layer=str(short.at), number=str(len(short.kept))))
    elif parity.hidden is None and not short.kept:
        notes.append(Message("note.cut.no.states"))
    if parity.depends_on_padding:
        notes.append(Message("note.cut.padding"))
    notes += steps_note(source)
    if short.zeroed:
        notes.append(Message("note.cut.zeroed", names=short.zeroed))
    if _has_pooler(source) and short.at < source.blocks:
        notes.append(Message("note.cut.pooler"))
    return tuple(notes)


def steps_note(source: CutSource) -> list[Message]:
    """Return a note on the steps after the last layer that a cut lacks; none without such steps."""
    steps = source.checkpoint.not_applied
    return [Message("note.cut.steps", steps=steps)] if steps else []


def _has_pooler(source: CutSource) -> bool:
    """Return whether the weights of a model have a pooler."""
    names = set(source.model.state_dict()) - set(source.loaded.untrained)
    return any(POOLER in name for name in names)


def source_facts(source: CutSource) -> dict[str, Any]:
    """Return name, revision, family, blocks and hashes of the model that was cut."""
    checkpoint = source.checkpoint
    adapter = {"adapter": checkpoint.adapter.description} if checkpoint.adapter else {}
    facts = {"id": source.name, "revision": checkpoint.revision, "family": source.family}
    return {**facts, "blocks": source.blocks, **adapter, **source.hashes}


def _parity_facts(parity: CutParity) -> Mapping[str, float]:
    last = {"last_hidden_state": parity.last}
    return last if parity.hidden is None else {"hidden_states": parity.hidden, **last}


def _usage(parity: CutParity) -> str:
    if not parity.normed or parity.hidden is None:
        return _USAGE
    return _TRANSFORMERS.format(
        layer="layer = outputs.hidden_states[-1]  # as the block gives it, without the norm"
    )


def _device(source: CutSource) -> str:
    return str(next(source.model.parameters()).device)
