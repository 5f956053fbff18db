"""Run the tests of the encoder and of int8 as on other processors, each time in a process of its own.

`make test-isa`: once for every instruction set that oneDNN can be held to, once with all libraries held to AVX2, and
once with products that round by the number of rows (`rounding.py`). A set that the processor doesn't have is a cap
that changes nothing. Further arguments go to pytest.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SETS = ("AVX2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16", "AVX512_CORE_AMX")
RUNS: dict[str, dict[str, str]] = {
    **{isa: {"ONEDNN_MAX_CPU_ISA": isa} for isa in SETS},
    "AVX2, torch and MKL too": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "rounding by rows": {"LAYERWISE_TEST_ROUNDING": "rows"},
}
NAMES = (
    "encode/test_int8 encode/test_processor encode/test_parity encode/test_probes encode/test_thread_invariance "
    "encode/test_model encode/test_windows encode/test_attention encode/test_tokenizer encode/test_transfer "
    "domain/test_word_split extraction/test_pool extraction/test_untrained util/test_threads"
)
SAY = "from layerwise.encode import int8; print(int8.refusal() or 'taken')"


def main(given: list[str]) -> int:
    """Run all and print a line for each; 1 if any test failed."""
    tests = [str(HERE / f"{name}.py") for name in NAMES.split()]
    failed = False
    for name, variables in RUNS.items():
        environment = {**os.environ, **variables}
        said = subprocess.run([sys.executable, "-c", SAY], env=environment, capture_output=True, text=True)
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
        done = subprocess.run([*command, *given], env=environment, capture_output=True, text=True)
        if done.returncode:
            failed = True
            print(done.stdout, done.stderr, sep="\n")
        lines = done.stdout.strip().splitlines() or ["no output"]
        print(f"{name}: {lines[-1]}; int8 {said.stdout.strip() or said.stderr.strip()}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
