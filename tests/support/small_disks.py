"""Small disks, and what fills them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MOST = 2**30  # bytes: no test has a larger disk


@contextmanager
def small_disk(place: Path, size: str = "4m") -> Iterator[Path]:
    """A folder on a disk of its own; the test is skipped where none can be mounted."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path) -> Path:
    """Leaves no room on a disk; returns the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            for _ in range(_MOST // 2**12):
                file.write(bytes(2**12))
        except OSError:
            return filler
    raise AssertionError(f"{disk}: is a large disk")
