"""The queue's SQLite file and the threads that use it.

Everything else in this package is a plain function of a connection: a change (in its own
transaction) or a query. `QueueDatabase` runs them in threads, not on the event loop.
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
LOCK_SECONDS = 10.0  # for whoever else has it locked
CACHE_KIB = 8192  # of the writer: keys are random, and all of the index of many is written to
# SQLite's locks and shared memory do not work across machines.
NETWORK_FILESYSTEMS = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    *("glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"),
}


class QueueError(UserError):
    """The queue's file cannot be used. The message names the file."""


class QueueDatabase:
    """The queue for the coordinator: one thread writes, another one reads.

    Args:
        folder: folder on a local disk, which the caller has locked against other services.

    Raises:
        QueueError, StoreError: see `connect`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._writer = connect(folder)
        self._reader = connect_reader(folder)
        self._writing = SingleThread("queue-writer")
        self._reading = SingleThread("queue-reader")
        # Why the queue cannot be written, until a page was written: reads work on a full disk.
        self.degraded_reason: str | None = None

    async def write(
        self,
        change: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs a change; once this returns, it is durable.

        Raises:
            StoreError: the disk failed; nothing was changed.
        """
        try:
            result = await self._writing.run(change, self._writer, *args, **kwargs)
        except sqlite3.OperationalError as error:  # any other error is a bug
            _raise_if_bug(error)
            message = f"{self._path}: cannot be written, nothing was changed: {error}"
            if self.degraded_reason is None:
                log.error("%s", message)
            self.degraded_reason = message
            raise StoreError(message) from error
        await self.probe()  # a change without anything to write succeeds even on a full disk
        return result

    async def write_until_done(
        self,
        change: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs a change like `write`, and retries until it succeeds."""
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
        """Runs a query, concurrently with changes.

        Raises:
            StoreError: the disk fails.
        """
        try:
            return await self._reading.run(query, self._reader, *args, **kwargs)
        except sqlite3.OperationalError as error:
            _raise_if_bug(error)
            raise StoreError(f"{self._path}: cannot be read: {error}") from error

    async def probe(self) -> None:
        """After a failed write, tries to write a page, and clears `degraded_reason` on success."""
        if self.degraded_reason is not None:
            with suppress(sqlite3.OperationalError):
                await self._writing.run(_touch, self._writer)
                self.degraded_reason = None

    async def close(self) -> None:
        """Closes both connections, then ends their threads.

        Each connection is closed in its own thread, after the current call: closing it during a
        statement would crash SQLite.
        """
        await self._reading.run(self._reader.close)
        await self._writing.run(self._writer.close)
        self._reading.close()
        self._writing.close()


def _raise_if_bug(error: sqlite3.OperationalError) -> None:
    """Raises an error that no disk caused: SQLite reports wrong statements as this type, too."""
    if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
        raise error


def _touch(db: sqlite3.Connection) -> None:
    """Writes a page without changing anything."""
    with transaction(db):
        db.execute(f"PRAGMA user_version = {VERSION}")


def connect_reader(folder: Path) -> sqlite3.Connection:
    """Opens a second, read-only connection, which never waits for the writer."""
    db = sqlite3.connect(
        folder / FILE, isolation_level=None, check_same_thread=False, timeout=LOCK_SECONDS
    )
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA query_only = TRUE")
    return db


def connect(folder: Path, alone: bool = False) -> sqlite3.Connection:
    """Opens the queue in a folder, and makes it if necessary.

    Args:
        folder: of the queue.
        alone: whether nobody else can read it meanwhile; it then needs no file for shared memory,
            for which a full disk has no room.

    Raises:
        QueueError: the folder is on a network filesystem, or the file is damaged or was made by a
            newer version.
        StoreError: the disk failed; a retry is possible.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (kind := filesystem(folder)) in NETWORK_FILESYSTEMS:
        raise QueueError(f"{folder}: the state must be on a local disk, and this is {kind}")
    path = folder / FILE
    with ExitStack() as opened:
        try:
            db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=LOCK_SECONDS
            )
            opened.callback(db.close)
            db.row_factory = sqlite3.Row
            if alone:
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # committed transactions survive a power cut
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            version = _checked_version(db)
            if version > VERSION:
                raise QueueError(
                    f"{path}: made by a newer version of stn-cluster (layout {version})"
                )
            lay_out(db, version)
        except sqlite3.OperationalError as error:  # a failure of the disk, not a damaged file
            raise StoreError(f"{path}: cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise QueueError(
                f"{path}: damaged ({error}): move it and its -wal and -shm away and submit the "
                "jobs again; results in the store are not trained again"
            ) from error
        opened.pop_all()
        return db


def _checked_version(db: sqlite3.Connection) -> int:
    """Version of the file's layout, 0 if it is new.

    Raises:
        sqlite3.DatabaseError: the file is damaged.
    """
    messages = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
    if messages != ["ok"]:
        raise sqlite3.DatabaseError("; ".join(" ".join(line.split()) for line in messages))
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def transaction(db: sqlite3.Connection, point: str | None = None) -> Iterator[None]:
    """Runs the block in a transaction; once it has ended, the changes survive a power cut.

    Args:
        db: the queue.
        point: name of the failpoints '<point>-written' and '<point>-committed' around the commit.
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
    """Number of the next change, larger than those of all changes before."""
    return 1 + int(db.execute("SELECT coalesce(max(changed), 0) FROM cells").fetchone()[0])


def filesystem(folder: Path, mounts: str | None = None) -> str | None:
    """Type of the filesystem of a folder, such as 'ext4'; None if unknown."""
    if mounts is None:
        try:
            mounts = os.fsdecode(Path("/proc/self/mounts").read_bytes())
        except OSError:  # not on Linux
            return None
    kinds = {}
    for line in filter(None, mounts.split("\n")):
        _, mount, kind, *_ = line.split(" ")
        kinds[Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mount))] = kind
    folder = folder.resolve()
    return next((kinds[path] for path in (folder, *folder.parents) if path in kinds), None)
