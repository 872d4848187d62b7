"""Name of a device in results: everything besides the code that affects the bits of a result."""

from __future__ import annotations

import platform

import torch

from stn_cluster.stn.precision import Precision, bf16_kernel
from stn_cluster.stn.processor import processor_field


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
    return processor_field("model name") or platform.processor() or platform.machine()
