"""Spools: files on a worker's own machine for what its process prints.

A file outlives its process, however that ends. It begins with a header: how far the coordinator has
the output. What follows can be read after the process's death, by `last_output`.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

START = 20  # bytes of the header: a number of 19 digits and a line break
BLOCK = 2**20  # bytes read at once
MAX_BYTES = 50_000_000  # of a spool; then it begins anew
LAST_BYTES = 100_000  # of a dead process's output that is read
ABANDONED_SECONDS = 24 * 3600.0  # after which nobody asks for a dead worker's output any more
SHARED = "shared"  # name of the spool for what belongs to all cells of a pack


class Spool:
    """A file for output. Writers append to its descriptor; one reader follows them.

    Args:
        folder: where it is; None: in memory, so that it ends with the process.
        name: its name there.
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self._path = folder / name if folder else None
        create = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self._header = -1 if self._path is None else os.open(self._path, create, 0o600)
        except OSError:  # no place any more
            self._path, self._header = None, -1
        if self._path is None:
            self._header = os.memfd_create(name)
        os.ftruncate(self._header, START)
        # Another descriptor, as all that is written to it is appended, whatever the place.
        appending = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        self.descriptor = os.open(f"/proc/self/fd/{self._header}", appending)
        self.position = START  # read up to here
        self.mark(START)

    def read(self) -> bytes:
        """The next block of new output; empty if there is none."""
        block = os.pread(self.descriptor, BLOCK, self.position)
        self.position += len(block)
        if not block and self.position > MAX_BYTES:
            # What is written at this very moment is lost, after fifty million bytes.
            os.ftruncate(self.descriptor, START)
            self.position = START
        return block

    def mark(self, position: int) -> None:
        """Notes that the coordinator has the output up to a position."""
        with suppress(OSError):  # a full disk: the output would come twice
            os.pwrite(self._header, f"{min(position, self.position):019d}\n".encode(), 0)

    def close(self) -> None:
        """Closes and removes it."""
        os.close(self.descriptor)
        os.close(self._header)
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def make_folder(worker: str) -> Path | None:
    """Makes the folder of a worker's spools; None if this machine has no place for it."""
    root = _root()
    if root is None:
        return None
    try:
        folder = root / worker
        folder.mkdir(exist_ok=True)
    except OSError:
        return None
    return folder


def remove_folder(folder: Path) -> None:
    """Removes a worker's folder."""
    try:
        folder.rmdir()  # after every pack, and there are many
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned() -> None:
    """Removes folders of workers that nobody has asked about for a day."""
    oldest = time.time() - ABANDONED_SECONDS
    with suppress(OSError):
        for other in root.iterdir() if (root := _root()) else ():
            # A folder's own time does not change while its files are written.
            written = (path.stat().st_mtime for path in (other, *other.iterdir()))
            if max(written) < oldest:
                shutil.rmtree(other, ignore_errors=True)


def last_output(worker: str) -> dict[str, bytes]:
    """What a dead worker's process has printed and the coordinator does not have; removes it.

    It must be called on the worker's machine.

    Returns:
        Output by attempt id, and that of all of the pack under `SHARED`; only the last part if
        there is much.
    """
    root = _root()
    if root is None or not (root / worker).is_dir():
        return {}
    found = {}
    paths: list[Path] = []
    with suppress(OSError):  # it may be removed at this moment
        paths = list((root / worker).iterdir())
    for path in paths:
        with suppress(OSError, ValueError), path.open("rb") as file:
            known = int(file.read(START))
            size = path.stat().st_size
            file.seek(max(min(known, size), size - LAST_BYTES))
            if output := file.read():
                found[path.name] = output
    shutil.rmtree(root / worker, ignore_errors=True)
    return found


def _root() -> Path | None:
    """This user's folder for spools, which nobody else can read; None if there can be none."""
    try:
        root = Path(tempfile.gettempdir()) / f"stn-cluster-output-{os.getuid()}"
        root.mkdir(mode=0o700, exist_ok=True)
        status = root.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return root if ours and not status.st_mode & 0o077 else None
