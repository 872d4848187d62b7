"""Processor of this machine, as Linux describes it."""

from __future__ import annotations

import re
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")  # Linux only


def processor_field(name: str, cpu_info: str | None = None) -> str | None:
    """A field of the first processor, as 'model name' or 'flags'; None where it is unknown.

    Args:
        name: the field's.
        cpu_info: text of /proc/cpuinfo; None: this machine's.
    """
    if cpu_info is None:
        cpu_info = _CPU_INFO.read_text() if _CPU_INFO.is_file() else ""
    match = re.search(rf"^{re.escape(name)}\s*: ?(.*)$", cpu_info, re.MULTILINE)
    return match[1].strip() if match else None
