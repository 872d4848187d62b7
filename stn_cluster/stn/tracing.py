"""When a hand-written derivative gives way to PyTorch's own operations.

The hand-written ones are faster, but nothing can look into them. So each has a plain version: for
second derivatives, and for what records or transforms a network.
"""

from __future__ import annotations

import torch


def traced() -> bool:
    """Whether a network is recorded (torch.export, torch.compile, torch.jit.trace) or transformed
    (torch.func) at the moment."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._is_tracing()  # torch.jit.trace's
    )
