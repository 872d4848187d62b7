"""The queue for `prune`: itself, or a copy of it for a dry run."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stn_cluster.errors import StoreError, UserError
from stn_cluster.queue.database import FILE, connect, transaction


@dataclass(frozen=True)
class PrunedQueue:
    """A queue, or a copy of it."""

    db: sqlite3.Connection
    path: Path  # for people

    @contextmanager
    def errors(self, done: str) -> Iterator[None]:
        """Raises what the disk does within the block as a StoreError."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # a bug
                raise
            raise StoreError(f"{self.path}: cannot be {done}: {error}") from error


@contextmanager
def pruned_queue(state: Path, dry_run: bool) -> Iterator[PrunedQueue | None]:
    """The queue, or None if there is none; for a dry run, a copy of it.

    Raises:
        QueueError, StoreError: it cannot be used, which is found before anything is removed.
    """
    path = state / FILE
    if not path.exists():
        yield None
        return
    with ExitStack() as stack:
        folder = stack.enter_context(_copied(state)) if dry_run else state
        try:
            db = stack.enter_context(closing(_opened(folder)))
        except UserError as error:
            raise type(error)(str(error).replace(str(folder / FILE), str(path))) from error
        queue = PrunedQueue(db, path)
        with queue.errors("written"), transaction(db):
            pass  # nobody else has it locked
        with queue.errors("read"):
            yield queue


def _opened(state: Path) -> sqlite3.Connection:
    try:
        return connect(state)
    except StoreError:  # such as a disk without room for shared memory, which is to get some
        return connect(state, alone=True)


@contextmanager
def _copied(state: Path) -> Iterator[Path]:
    """A folder with a copy of the queue."""
    with ExitStack() as stack:
        try:
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stn-cluster-")))
            for name in (FILE, f"{FILE}-wal"):
                if (state / name).exists():
                    shutil.copyfile(state / name, copy / name)
        except OSError as error:
            raise StoreError(
                f"{state / FILE}: cannot be copied for a dry run: {error.strerror or error}; "
                "TMPDIR names the folder of the copy"
            ) from error
        yield copy
