"""`python -m layerwise` is the command `layerwise`."""

import sys

from layerwise.cli.main import main

sys.exit(main())
