"""Child processes of this one, from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path


def actors(kind: str) -> dict[int, str]:
    """Living actors of the Rays that this process started: process ids, and current calls.

    Args:
        kind: the actor's class, as in 'Worker'.
    """
    found = {}
    for pid in descendants(os.getpid()):
        # 'ray::Worker', 'ray::Worker.train', or with the actor's name: 'ray::name:Worker'.
        title = _title(pid)
        name, _, method = title.rpartition(":")[2].partition(".")
        if title.startswith("ray::") and name == kind:
            found[pid] = method or "idle"
    return found


def descendants(root: int) -> list[int]:
    """Process ids of all descendants of a process."""
    children = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # 'pid (name) state parent ...', and the name may hold anything.
            state, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if state != "Z":
            children[int(parent)].append(int(folder.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found[1:]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().strip("\0 ")
    except OSError:
        return ""
