"""`python -m layerwise` is the command `layerwise`."""

import os
import sys

try:
    here = os.getcwd()  # noqa: PTH109
except OSError:  # it was removed; `main` reports it
    here = ""
# Python searches the current folder first, and would run a file `pickle.py` in it.
if here and sys.path[0] == here and not __file__.startswith(os.path.join(here, "layerwise", "")):  # noqa: PTH118
    del sys.path[0]

from layerwise.cli.main import main

sys.exit(main())
