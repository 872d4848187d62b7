"""Folders of runs that were killed: the next run removes them, and what still runs there.

A run's folder has a file that the run holds locked; if nobody holds it, the run is dead. Folders of
other users, and those of runs that live, are left alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "stn-"
_MARK = "running"


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Marks a folder within the block as that of a run that lives."""
    descriptor = os.open(folder / _MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_abandoned(place: Path) -> None:
    """Removes the folders of this user's dead runs below a place, after ending what is left of
    their processes."""
    with suppress(OSError):
        for folder in place.glob(f"{PREFIX}*"):
            with suppress(OSError):
                _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return
    descriptor = os.open(folder / _MARK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if the run lives
        for process in _processes(folder):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _processes(folder: Path) -> Iterator[int]:
    """This user's processes of the Ray whose files are in a folder: they have it as an argument."""
    within = os.fsencode(f"{folder}/")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ours = process.stat().st_uid == os.geteuid()
            if ours and within in (process / "cmdline").read_bytes():
                yield int(process.name)
