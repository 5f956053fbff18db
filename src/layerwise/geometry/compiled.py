"""What numba reads where it is started: the libraries that are compiled by it may run what lies in a folder."""

from pathlib import Path

from layerwise.errors import RequestError

_SETTINGS = ".numba_config.yaml"


def check_settings(what: str) -> None:
    """Refuse settings of numba in the current folder: they may name a cache, whose files numba runs.

    Args:
        what: what needs numba, as the message calls it.

    Raises:
        RequestError: there are some.
    """
    if Path(_SETTINGS).exists():
        raise RequestError(
            f"{what} uses numba, which obeys the file {_SETTINGS} of the current folder and runs what its cache holds; "
            "start in another folder, or remove the file"
        )
