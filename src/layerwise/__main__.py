"""`python -m layerwise` is the command `layerwise`."""

import os
import sys

try:
    here = os.getcwd()  # noqa: PTH109
except OSError:  # it was removed, which `main` says
    here = ""
# Python puts the current folder first, and what is called `pickle.py` there would be run.
if here and sys.path[0] == here and not __file__.startswith(os.path.join(here, "layerwise", "")):  # noqa: PTH118
    del sys.path[0]

from layerwise.cli.main import main

sys.exit(main())
