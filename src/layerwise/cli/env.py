"""Say what this machine and its libraries are: what a report of a problem should begin with."""

import argparse

from layerwise import api
from layerwise.cli import options

HELP = "versions, processor and devices"
EXAMPLES = """\
  layerwise env
  layerwise env --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    versions = api.env.env().to_json()
    if args.json:
        options.print_json(versions)
    else:
        options.say(*options.table([(name, str(value)) for name, value in versions.items()]))
    return 0
