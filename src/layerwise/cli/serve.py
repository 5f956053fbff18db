"""Answer requests for layers, mixes and heads over HTTP, as OpenAI's API, Text Embeddings Inference, and more.

Requests of many clients share forwards, whatever layers they ask for. Ctrl-C stops the server after it has
finished what it had accepted. See "Layers, mixes and heads over HTTP" in the documentation.
"""

import argparse
import os
from pathlib import Path

from layerwise import api, server
from layerwise._util.paths import faults, reason
from layerwise.arguments import as_flags, offering
from layerwise.cli import flags, output
from layerwise.errors import RequestError
from layerwise.options import RunOptions, ServeOptions

HELP = "answer requests for layers, mixes and heads over HTTP"
EXAMPLES = """\
  layerwise serve minilm
  layerwise serve minilm --head sentiment.head topic.head --port 8123
  layerwise serve minilm --transform reviews-bits/transform.safetensors
  LAYERWISE_API_KEY=… layerwise serve minilm --host 0.0.0.0
  curl -s localhost:8000/v1/embeddings -d '{"model": "minilm@mean(-4:)", "input": "Hello, world!"}'
"""
_KEY_VARIABLE = "LAYERWISE_API_KEY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "models",
        nargs="*",
        type=flags.path,
        metavar="MODEL",
        help="models to serve (default: those of the heads; without heads minilm)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on; one that other machines can reach needs a key (default: 127.0.0.1)",
    )
    parser.add_argument(
        "--port", type=flags.count, default=8000, metavar="N", help="port; 0: a free one (default: 8000)"
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"key that requests need, in the header Authorization: Bearer KEY; safer in the variable {_KEY_VARIABLE}, or in a "
        "file: other users of this machine can read a command line",
    )
    parser.add_argument(
        "--api-key-file", type=flags.path, metavar="FILE", help="file with the key, in one line"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="name of this server that requests may send in the header Host, such as that of a proxy; repeat the flag for "
        "several",
    )
    flags.add(parser, ServeOptions)
    flags.add(parser, RunOptions)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.port > 65535:
        raise RequestError(
            f"--port {args.port} is out of range; give a port up to 65535, or 0 for a free one"
        )
    key = _key(args)
    # Before the models are loaded: a library may be missing.
    metrics, http_server = server.metrics.Metrics(), server.run.HttpServer
    service = api.serve.serve(
        args.models, **flags.values(args, ServeOptions), threads=args.threads, watcher=metrics
    )
    http = http_server(service, metrics, host=args.host, port=args.port, key=key, hosts=args.allow_host)
    output.print_lines(http.url)
    output.flush()
    served = [*service.models, *(f"/predict/{name}" for name in service.heads)]
    transforms = [
        f"; mixes of {model.name} go through {model.transform!r}"
        for model in service.models.values()
        if model.transform
    ]
    output.print_note(f"serving {', '.join(served)}{''.join(transforms)}; Ctrl-C stops the server")
    with as_flags(False), offering(server.web.FIELDS):  # errors that clients read name fields
        http.run()
    return 0


def _key(args: argparse.Namespace) -> str | None:
    """Return the key: of the flag, the file, or the environment.

    Raises:
        RequestError: a key is given twice, can't be read, or is empty.
    """
    if args.api_key is not None and args.api_key_file is not None:
        raise RequestError("--api-key and --api-key-file are both given; leave one of them out")
    key = args.api_key if args.api_key is not None else os.environ.get(_KEY_VARIABLE)
    if args.api_key_file is not None:
        try:
            key = Path(args.api_key_file).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise RequestError(
                f"--api-key-file {args.api_key_file}: no text; give a file with the key"
            ) from None
        except faults() as error:
            raise RequestError(
                f"--api-key-file {args.api_key_file}: {reason(error)}; give a file with the key"
            ) from None
    if key is not None and (not key or not key.isascii() or not key.isprintable() or " " in key):
        raise RequestError(
            "the key is empty, or has characters that a header can't hold; give letters and digits"
        )
    return key
