"""Tell a list of texts from a list of names of files; both are lists of strings."""

import glob
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.read.endings import has_known_ending
from layerwise.read.record import shown

_SAMPLE = 100
_LONGEST_NAME = 4096
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def are_names(strings: Iterable[str]) -> bool:
    """Return whether strings name files; otherwise they are texts. The first hundred decide.

    A string names a file if it is a URL, the path of a file, a glob that matches one, or a word with the ending of a
    format. Strings with blanks and such an ending, folders and `-` may be either: they are names where no string is
    surely a text.

    Raises:
        RequestError: some of the strings name files, and others don't.
    """
    sample = list(islice(strings, _SAMPLE))
    name = next(filter(_is_name, sample), None)
    text = next((item for item in sample if not _is_name(item) and not _may_be_name(item)), None)
    if name is not None and text is not None:
        raise RequestError(
            f"in the list of strings {shown(name)} names a file and {shown(text)} doesn't; give names of files that exist, "
            f"with {argument('format')} if they have other endings, or give texts as records: [{{'text': '…'}}]"
        )
    return text is None


def _is_name(item: str) -> bool:
    if not _is_possible(item):
        return False
    if _URL.fullmatch(item) or _exists(item, folders=False):
        return True
    return len(item.split()) == 1 and (has_known_ending(item) or _matches(item))


def _may_be_name(item: str) -> bool:
    if not _is_possible(item):
        return False
    return item == "-" or has_known_ending(item) or _exists(item, folders=True)


def _is_possible(item: str) -> bool:
    return 0 < len(item) <= _LONGEST_NAME and item.isprintable()


def _exists(item: str, *, folders: bool) -> bool:
    try:
        return Path(item).exists() and (folders or not Path(item).is_dir())
    except OSError:  # a part of it is too long
        return False


def _matches(item: str) -> bool:
    return glob.has_magic(item) and any(True for _ in glob.iglob(item))
