"""The queue's SQLite file: where it lies, its tables, and what is done when it is damaged."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stn_cluster.errors import StoreError, UserError
from stn_cluster.failpoints import failpoint

FILE = "queue.sqlite"
VERSION = 1
# SQLite's locks and shared memory are not to be had across machines.
NETWORK_FILESYSTEMS = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    *("glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"),
}

_TABLES = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,         -- by age
    job_id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,               -- of all that was submitted: the same id, the same job
    config TEXT NOT NULL,               -- JSON
    folder TEXT,
    force INTEGER NOT NULL,
    priority INTEGER NOT NULL,          -- the larger, the sooner
    submitted_at TEXT NOT NULL,         -- UTC
    cancelled_at TEXT,
    recorded INTEGER NOT NULL DEFAULT 0 -- whether the store has the job's record
);
CREATE TABLE cells (
    key TEXT PRIMARY KEY,
    spec TEXT NOT NULL,                 -- JSON of the Cell
    label TEXT NOT NULL,
    stream TEXT NOT NULL,
    needs TEXT NOT NULL,                -- JSON
    cost REAL NOT NULL,
    state TEXT NOT NULL,
    job INTEGER,                        -- the job it is trained for: of those that want it, the
    priority INTEGER NOT NULL,          -- one with the highest priority, then the oldest
    alone INTEGER NOT NULL DEFAULT 0,   -- it was in a pack that died: it is tried by itself
    spent INTEGER NOT NULL DEFAULT 0,   -- it has used up its attempts; its failure is to be stored
    attempt TEXT,                       -- the current one while it runs, else the last one
    charged INTEGER NOT NULL DEFAULT 0, -- deaths held against it since it was last queued anew
    uncharged INTEGER NOT NULL DEFAULT 0,
    node_losses INTEGER NOT NULL DEFAULT 0, -- of the uncharged: its node went
    state_attempt TEXT,                 -- whose checkpoint it goes on from
    state_step INTEGER,
    since INTEGER NOT NULL,             -- what the store accepted later (us) is its end
    test_error REAL,                    -- percent; of the last success, also while trained anew
    error TEXT,                         -- why it failed, one line
    changed INTEGER NOT NULL            -- number of the last change to any cell
);
CREATE TABLE wants (                    -- which job wants which cells
    job INTEGER NOT NULL,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    recipe TEXT NOT NULL,               -- the job's name for it
    stored INTEGER NOT NULL,            -- it had its result when the job came
    waits INTEGER NOT NULL,             -- it has not ended for this job yet
    dropped INTEGER NOT NULL DEFAULT 0, -- cancelled before it ended
    PRIMARY KEY (job, position)
) WITHOUT ROWID;
CREATE TABLE attempts (
    attempt TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    job_id TEXT NOT NULL,
    pack_size INTEGER NOT NULL,
    worker TEXT NOT NULL,               -- JSON: where it ran
    started_at TEXT NOT NULL,
    ended_at TEXT,
    ending TEXT,
    charged INTEGER NOT NULL DEFAULT 0,
    reason TEXT
);
CREATE INDEX cells_to_claim ON cells (needs, priority DESC, job, cost DESC)
    WHERE state = 'queued' AND NOT spent;
CREATE INDEX cells_by_stream ON cells (stream, job, needs, cost DESC)
    WHERE state = 'queued' AND NOT spent AND NOT alone;
CREATE INDEX cells_running ON cells (attempt) WHERE state = 'running';
CREATE INDEX cells_spent ON cells (key) WHERE spent;
CREATE INDEX cells_changed ON cells (changed);
CREATE INDEX wants_by_key ON wants (key);
CREATE INDEX attempts_by_key ON attempts (key, started_at);
CREATE INDEX attempts_open ON attempts (key) WHERE ended_at IS NULL;
"""


class QueueError(UserError):
    """The queue's file cannot be used. The message names it."""


def connect_reader(folder: Path) -> sqlite3.Connection:
    """A second connection, which changes nothing and waits for nobody."""
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
            version = _set_up(db)
        except sqlite3.OperationalError as error:  # the disk, not the content
            raise StoreError(f"{path}: cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise QueueError(
                f"{path}: damaged ({error}): move it and its -wal and -shm away and submit the "
                "jobs again; whatever is in the store is not trained again"
            ) from error
        if version > VERSION:
            raise QueueError(f"{path}: made by a newer version of stn-cluster (layout {version})")
        opened.pop_all()
        return db


def _set_up(db: sqlite3.Connection) -> int:
    """Checks the file, or fills it if it is new; the layout's version."""
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # once a transaction returns, it survives
    found = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError("; ".join(" ".join(line.split()) for line in found))
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version == 0:
        db.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {VERSION};COMMIT;")
    return version


@contextmanager
def transaction(db: sqlite3.Connection, point: str | None = None) -> Iterator[sqlite3.Connection]:
    """All or nothing; once the block has ended it survives a power cut.

    Args:
        db: the queue.
        point: fault points '<point>-written' and '<point>-committed' are around the commit.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
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
    """A number larger than that of every change before."""
    return 1 + int(db.execute("SELECT coalesce(max(changed), 0) FROM cells").fetchone()[0])


def filesystem(folder: Path, mounts: str | None = None) -> str | None:
    """The type of the filesystem that a folder is on, as in 'ext4'; None where nobody says."""
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
