"""What a training step frees is kept for the next one.

PyTorch takes its tensors on a CPU from malloc. glibc's gives large ones back to the kernel as soon
as they are freed, and gets them back page by page, by thousands of page faults a step.
"""

from __future__ import annotations

import ctypes
import sys

# From malloc.h; what each is set to, in bytes.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
_KEPT = {
    M_MMAP_THRESHOLD: 2**25,  # from the kernel itself; glibc takes no more
    M_TRIM_THRESHOLD: 2**29,  # free at the end of the heap before some of it is given back
    M_TOP_PAD: 2**26,  # the size of a thread's heap: what is free of it is kept as a whole
}


def keep_freed_memory() -> None:
    """Makes this process's malloc do so from now on; where it isn't glibc's, nothing changes."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, size in _KEPT.items():
            mallopt(option, size)
