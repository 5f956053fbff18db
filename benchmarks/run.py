"""`make bench`: every benchmark, one after the other; each prints its own table."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = ("startup", "storage", "memory", "disk", "speed", "shares", "others", "probe", "analyze")


def main() -> int:
    """Run the scripts; 1 if one of them broke."""
    broken = []
    for name in SCRIPTS:
        if subprocess.run(
            [sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=False
        ).returncode:
            broken.append(name)
        print(flush=True)
    if broken:
        print(f"broken: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
