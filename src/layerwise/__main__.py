"""`python -m layerwise` is the command `layerwise`."""

import os
import sys

# Python puts the current folder first, and what is called `pickle.py` there would be run.
if sys.path[0] == os.getcwd() and not __file__.startswith(os.path.join(os.getcwd(), "layerwise", "")):  # noqa: PTH109, PTH118
    del sys.path[0]

from layerwise.cli.main import main

sys.exit(main())
