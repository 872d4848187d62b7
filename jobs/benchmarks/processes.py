"""The processes below this one, as /proc tells of them."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path


def actors(kind: str) -> list[int]:
    """Process ids of living actors of the Rays that this process started.

    Args:
        kind: the actor's class, as in 'Worker'.
    """
    return [pid for pid in _descendants(os.getpid()) if _name(pid).startswith(f"ray::{kind}")]


def _descendants(root: int) -> list[int]:
    children = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # 'pid (name) state parent ...', and the name may hold anything.
            state, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if state != "Z":
            children[int(parent)].append(int(folder.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found[1:]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
