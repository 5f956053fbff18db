"""Print the versions of layerwise and its libraries, the processor and the devices. Add this to a bug report."""

import argparse

from layerwise import api
from layerwise.cli import flags, output

HELP = "print versions, processor and devices"
EXAMPLES = """\
  layerwise env
  layerwise env --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    versions = api.env.env().to_json()
    if args.json:
        output.print_json(versions)
    else:
        output.print_lines(*output.table([(name, str(value)) for name, value in versions.items()]))
    return 0
