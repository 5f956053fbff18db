"""Describe this machine and its libraries."""

import os
import platform
from pathlib import Path

import torch

from layerwise._util import threads
from layerwise._util.versions import versions


def describe_machine() -> dict[str, str]:
    """Return versions, system, processor, threads and devices, by name."""
    choice = threads.choose()
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {
        **versions(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": f"{choice.number} ({choice.source})",
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "devices": ", ".join(devices),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
