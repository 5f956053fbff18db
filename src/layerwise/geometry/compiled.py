"""Guard against numba's settings file: libraries compiled by numba may run code from the current folder.

numba reads `.numba_config.yaml` of the current folder. The file may name a cache folder, and numba executes the
compiled code in it, so a stranger's folder could run code.
"""

from pathlib import Path

from layerwise.errors import RequestError
from layerwise.wording import Message

_SETTINGS = ".numba_config.yaml"


def check_settings(what: str) -> None:
    """Refuse a numba settings file in the current folder: it may name a cache, whose files numba runs.

    Args:
        what: the feature that needs numba, as the message names it.

    Raises:
        RequestError: the file exists.
    """
    if Path(_SETTINGS).exists():
        raise RequestError(Message("note.numba", what=what, file=_SETTINGS))
