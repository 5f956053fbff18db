"""Endings of the names of files: of formats, and of compressed files."""

COMPRESSED = (".gz", ".zst", ".zstd", ".bz2", ".xz")
_ENDINGS = {
    "txt": (".txt", ".text", ".md"),
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "tsv": (".tsv", ".tab"),
    "json": (".json",),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
    "conll": (".conll", ".conllu", ".iob", ".iob2", ".bio", ".bio2"),
    "fasta": (".fasta", ".fa", ".faa", ".fna", ".ffn", ".frn"),
}
FORMAT_OF = {ending: format for format, endings in _ENDINGS.items() for ending in endings}


def has_known_ending(name: str) -> bool:
    """Return whether the ending of a name is that of a format, behind which that of a compression may stand."""
    return _uncompressed(name) != name.lower() or _uncompressed(name).endswith(tuple(FORMAT_OF))


def is_fasta(name: str) -> bool:
    """Return whether the ending of a name is one of FASTA, behind which that of a compression may stand."""
    return _uncompressed(name).endswith(_ENDINGS["fasta"])


def is_text(name: str) -> bool:
    """Return whether the ending of a name is one of plain text, behind which that of a compression may stand."""
    return _uncompressed(name).endswith(_ENDINGS["txt"])


def _uncompressed(name: str) -> str:
    name = name.lower()
    return next((name.removesuffix(ending) for ending in COMPRESSED if name.endswith(ending)), name)
