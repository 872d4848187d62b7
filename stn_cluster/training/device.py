"""Name of a device in results: everything besides the code that affects the bits of a result."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

from stn_cluster.stn.precision import Precision, bf16_kernel

_CPU_INFO = Path("/proc/cpuinfo")  # Linux only


def device_name(device: torch.device, precision: Precision = "float32") -> str:
    """Name of a GPU; or of a CPU with its instruction set and number of training threads.

    With bf16, it also names the kernel of the products.

    Example: 'AMD EPYC 9B14, AVX512, 1 thread, bf16 by AVX512_BF16'.
    """
    kernel = f", bf16 by {bf16_kernel(device.type).name}" if precision == "bf16" else ""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device) + kernel
    threads = torch.get_num_threads()
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{_processor()}, {instructions}, {threads} thread{'s' if threads > 1 else ''}{kernel}"


def _processor() -> str:
    match = _CPU_INFO.is_file() and re.search(r"^model name\s*: (.+)$", _CPU_INFO.read_text(), re.M)
    return match[1] if match else platform.processor() or platform.machine()
