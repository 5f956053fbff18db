"""HTML for the notebook display of our objects: a line and a table, escaped so that nothing in it is run."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_MOST = 200  # characters of a cell


def html(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> str:
    """Return a title, a table and a note as HTML; long cells are cut, numbers have four significant digits."""
    head = "".join(f"<th>{_cell(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if header else ""
    return f"<div><p><b>{_cell(title)}</b></p>{table}{f'<p>{_cell(note, 2000)}</p>' if note else ''}</div>"


def _cell(value: Any, most: int = _MOST) -> str:
    text = "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    # Surrogates can't be encoded, and control characters would break the layout.
    printable = "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "\ufffd" for c in text)
    return escape(printable if len(printable) <= most else f"{printable[: most - 1]}…")
