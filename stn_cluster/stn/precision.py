"""The numbers that convolutions multiply: float32, or float32 rounded to bfloat16 ("bf16").

With bf16, images, weights and gradients are rounded before a convolution multiplies them, and so is
what comes of it, forward and backward; it adds up in float32. Rounding is to 8 significant bits.
All else stays as it is: the weights themselves and their updates, biases, pooling, the other
layers, theta, grid, sampler and loss.

A processor that multiplies bfloat16 no faster than float32 multiplies the rounded numbers as
float32. Results differ then as they do between any two kinds of processors: by the order of
additions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bf16"]

_CPU_INFO = Path("/proc/cpuinfo")  # of Linux


@dataclass(frozen=True)
class Kernel:
    """What multiplies numbers that are rounded to bfloat16."""

    name: str
    type: torch.dtype  # that they are multiplied as: bfloat16 or float32


AMX = Kernel("AMX", torch.bfloat16)
AVX512 = Kernel("AVX512_BF16", torch.bfloat16)
CUDA = Kernel("CUDA", torch.bfloat16)
FLOAT32 = Kernel("float32", torch.float32)


@cache
def bf16_kernel(device_type: str) -> Kernel:
    """This machine's, by what its processor or GPU can do and by nothing else.

    Args:
        device_type: as in `torch.device.type`.
    """
    if device_type == "cpu" and _CPU_INFO.is_file():
        return cpu_kernel(_CPU_INFO.read_text())
    if device_type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return CUDA
    return FLOAT32


def cpu_kernel(cpu_info: str) -> Kernel:
    """The kernel of a processor, by the text of its /proc/cpuinfo."""
    found = re.search(r"^flags\s*:(.*)$", cpu_info, re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    if "amx_bf16" in flags:
        return AMX
    # Intel's AVX512_BF16 is no faster than its float32; where AMX is hidden, as in some virtual
    # machines, PyTorch's products take twice as long with it.
    if "avx512_bf16" in flags and "AuthenticAMD" in cpu_info:
        return AVX512
    return FLOAT32


def rounded(numbers: Tensor, kernel: Kernel | None) -> Tensor:
    """Numbers as a kernel multiplies them; None: as they are."""
    return numbers if kernel is None else numbers.bfloat16().to(kernel.type)
