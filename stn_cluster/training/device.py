"""What a device is called in results: all that decides the bits of a result, beside the code."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

_CPU_INFO = Path("/proc/cpuinfo")  # of Linux


def device_name(device: torch.device) -> str:
    """A GPU's name; or a CPU's with its instruction set and the threads that train on it.

    Example: 'AMD EPYC 9B14, AVX512, 1 thread'.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{_processor()}, {instructions}, {threads} thread{'s' if threads > 1 else ''}"


def _processor() -> str:
    found = _CPU_INFO.is_file() and re.search(r"^model name\s*: (.+)$", _CPU_INFO.read_text(), re.M)
    return found[1] if found else platform.processor() or platform.machine()
