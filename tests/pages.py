"""What pages hold, and texts that no page may be broken by."""

import base64
import gzip
import json
import re
from typing import Any

HOSTILE = [
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    "<!--<script>",
    "<img src=x onerror=window.hacked=1>",
    "\"><svg onload=window.hacked=1> ' ` ${window.hacked=1}",
    "\x1b[31mred\x1b[0m \x00\x07",
    "=cmd|' /C calc'!A0",
    "a\u2028b\u2029c",
    "lone \ud83d surrogate \udc00",
    "\u202egnp.exe\u202c \u2066x",
    "]]> {{data}} {name} __proto__ constructor",
    "javascript:window.hacked=1",
]


def held(html: str) -> tuple[dict[str, Any], bytes]:
    """The JSON that a page holds, and the bytes of its arrays."""
    given = re.search(r'id="data">([^<]*)<', html)
    assert given
    raw = gzip.decompress(base64.b64decode(given[1]))
    told = 4 + int.from_bytes(raw[:4], "little")
    return json.loads(raw[4:told]), raw[told:]
