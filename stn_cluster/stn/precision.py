"""Precision of convolutions: float32, or float32 rounded to bfloat16 ("bf16").

With bf16, images, weights and gradients are rounded to bfloat16 (8 significant bits) before a
convolution multiplies them, and so is its result, forward and backward; sums are float32, except
that the gradient of an image of few channels adds up over filter rows in the kernel's own type.
Everything else stays float32: the stored weights and their updates, biases, pooling, the other
layers, theta, grid, sampler and loss.

A processor on which bfloat16 is not faster than float32 multiplies the rounded numbers as float32.
Results then differ only as between any two kinds of processors: by the order of additions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from stn_cluster.stn.processor import processor_field

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Kernel:
    """Instructions or library that multiplies numbers rounded to bfloat16."""

    name: str
    type: torch.dtype  # type of the factors: bfloat16 or float32


AMX = Kernel("AMX", torch.bfloat16)
AVX512 = Kernel("AVX512_BF16", torch.bfloat16)
CUDA = Kernel("CUDA", torch.bfloat16)
FLOAT32 = Kernel("float32", torch.float32)


@cache
def bf16_kernel(device_type: str) -> Kernel:
    """Kernel of this machine: depends only on its processor or GPU.

    Args:
        device_type: as in `torch.device.type`.
    """
    if device_type == "cpu":
        return cpu_kernel()
    if device_type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return CUDA
    return FLOAT32


def cpu_kernel(cpu_info: str | None = None) -> Kernel:
    """Kernel of a processor, from the text of its /proc/cpuinfo; None: this machine's."""
    flags = set((processor_field("flags", cpu_info) or "").split())
    if "amx_bf16" in flags:
        return AMX
    # On Intel, AVX512_BF16 is not faster than float32; in virtual machines that hide AMX,
    # PyTorch's products even take twice as long with it.
    vendor = processor_field("vendor_id", cpu_info)
    if "avx512_bf16" in flags and vendor == "AuthenticAMD":
        return AVX512
    return FLOAT32


def rounded(numbers: Tensor, kernel: Kernel | None) -> Tensor:
    """Rounds numbers to bfloat16 and converts them to the kernel's type; None: no change."""
    return numbers if kernel is None else numbers.bfloat16().to(kernel.type)
