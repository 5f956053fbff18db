"""The verbs: each calls the rooms of the package in order."""

from typing import TYPE_CHECKING

from layerwise._util.lazy import submodules

if TYPE_CHECKING:
    from layerwise.api import (  # noqa: F401
        align,
        analyze,
        bench,
        cut,
        env,
        evaluate,
        explore,
        export,
        extract,
        finish,
        info,
        merge,
        pool,
        predict,
        probe,
        repair,
        report,
        serve,
        show,
        train,
        verify,
    )

__getattr__ = submodules(__name__)
