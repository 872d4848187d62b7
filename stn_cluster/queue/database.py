"""The queue's SQLite file and the threads that use it.

Everything else in this package is a plain function of a connection: a change (in a transaction of
its own) or a query. `QueueDatabase` runs them off the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from stn_cluster.errors import StoreError, UserError
from stn_cluster.failpoints import failpoint
from stn_cluster.queue.layout import VERSION, lay_out
from stn_cluster.threads import SingleThread

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

FILE = "queue.sqlite"
RETRY_SECONDS = 2.0
# SQLite's locks and shared memory are not to be had across machines.
NETWORK_FILESYSTEMS = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    *("glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"),
}


class QueueError(UserError):
    """The queue's file cannot be used. The message names it."""


class QueueDatabase:
    """The queue as the coordinator uses it: one thread writes, another one reads beside it.

    Args:
        folder: on a local disk; the caller keeps other services off it.

    Raises:
        QueueError, StoreError: see `connect`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._writer = connect(folder)
        self._reader = connect_reader(folder)
        self._writing = SingleThread("queue-writer")
        self._reading = SingleThread("queue-reader")
        # Why the queue cannot be written, until a page has been: a read says nothing of the disk.
        self.degraded_reason: str | None = None

    async def write(
        self,
        change: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs a change; once this returns it is durable.

        Raises:
            StoreError: the disk refuses it; nothing was changed.
        """
        try:
            result = await self._writing.run(change, self._writer, *args, **kwargs)
        except sqlite3.OperationalError as error:  # any other is a mistake of ours
            message = f"{self._path}: cannot be written, nothing was changed: {error}"
            if self.degraded_reason is None:
                log.error("%s", message)
            self.degraded_reason = message
            raise StoreError(message) from error
        await self.probe()  # it may have had nothing to write, and succeeded on a full disk
        return result

    async def write_until_done(
        self,
        change: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs a change as `write` does, again and again until the disk takes it."""
        while True:
            try:
                return await self.write(change, *args, **kwargs)
            except StoreError:
                await asyncio.sleep(RETRY_SECONDS)

    async def read(
        self,
        query: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs a query, beside whatever is being written.

        Raises:
            StoreError: the disk fails.
        """
        try:
            return await self._reading.run(query, self._reader, *args, **kwargs)
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self._path}: cannot be read: {error}") from error

    async def probe(self) -> None:
        """Writes a page where a write has failed: `degraded_reason` ends with its cause."""
        if self.degraded_reason is not None:
            with suppress(sqlite3.OperationalError):
                await self._writing.run(_touch, self._writer)
                self.degraded_reason = None

    async def close(self) -> None:
        """Closes both connections, then ends their threads.

        Each in its own thread, after what that is at: in the midst of a statement SQLite crashes.
        """
        await self._reading.run(self._reader.close)
        await self._writing.run(self._writer.close)
        self._reading.close()
        self._writing.close()


def _touch(db: sqlite3.Connection) -> None:
    """Writes a page and changes nothing."""
    with transaction(db):
        db.execute(f"PRAGMA user_version = {VERSION}")


def connect_reader(folder: Path) -> sqlite3.Connection:
    """Opens a second connection, which can change nothing and waits for nobody."""
    db = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False, timeout=10)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA query_only = TRUE")
    return db


def connect(folder: Path) -> sqlite3.Connection:
    """Opens the queue in a folder, and makes it if need be.

    Raises:
        QueueError: the folder is on a network filesystem, or the file is damaged, or was made by a
            newer version.
        StoreError: the disk failed; it may be tried again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (kind := filesystem(folder)) in NETWORK_FILESYSTEMS:
        raise QueueError(f"{folder}: the state must be on a local disk, and this is {kind}")
    path = folder / FILE
    with ExitStack() as opened:
        try:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            opened.callback(db.close)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # once a transaction returns, it survives
            version = _checked_version(db)
            if version > VERSION:
                raise QueueError(
                    f"{path}: made by a newer version of stn-cluster (layout {version})"
                )
            lay_out(db, version)
        except sqlite3.OperationalError as error:  # the disk, not the content
            raise StoreError(f"{path}: cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise QueueError(
                f"{path}: damaged ({error}): move it and its -wal and -shm away and submit the "
                "jobs again; whatever is in the store is not trained again"
            ) from error
        opened.pop_all()
        return db


def _checked_version(db: sqlite3.Connection) -> int:
    """Version of the file's layout, 0 if it is new.

    Raises:
        sqlite3.DatabaseError: the file is damaged.
    """
    found = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError("; ".join(" ".join(line.split()) for line in found))
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def transaction(db: sqlite3.Connection, point: str | None = None) -> Iterator[None]:
    """Block that is written whole or not at all; once it has ended it survives a power cut.

    Args:
        db: the queue.
        point: failpoints '<point>-written' and '<point>-committed' are around the commit.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        if point:
            failpoint(f"{point}-written")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    if point:
        failpoint(f"{point}-committed")


def next_change(db: sqlite3.Connection) -> int:
    """Number of the next change: larger than that of every change before."""
    return 1 + int(db.execute("SELECT coalesce(max(changed), 0) FROM cells").fetchone()[0])


def filesystem(folder: Path, mounts: str | None = None) -> str | None:
    """Type of the filesystem that a folder is on, as in 'ext4'; None where nobody says."""
    if mounts is None:
        try:
            mounts = os.fsdecode(Path("/proc/self/mounts").read_bytes())
        except OSError:  # not a Linux
            return None
    kinds = {}
    for line in filter(None, mounts.split("\n")):
        _, place, kind, *_ = line.split(" ")
        kinds[Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place))] = kind
    folder = folder.resolve()
    return next((kinds[place] for place in (folder, *folder.parents) if place in kinds), None)
