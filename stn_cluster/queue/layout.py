"""Tables of the queue's SQLite file, and the migration of an older file."""

from __future__ import annotations

import sqlite3

VERSION = 4

_TABLES = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,         -- in the order of submission
    job_id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,               -- hash of everything that was submitted
    config TEXT NOT NULL,               -- JSON
    folder TEXT,
    force INTEGER NOT NULL,
    priority INTEGER NOT NULL,          -- higher priorities go first
    submitted_at TEXT NOT NULL,         -- UTC
    cancelled_at TEXT,
    recorded INTEGER NOT NULL DEFAULT 0, -- whether the store has the job's record
    told INTEGER NOT NULL DEFAULT 0     -- whether its end has been told, or is to be told to nobody
);
CREATE TABLE cells (                    -- work items: cells to train, and evaluations of cells
    key TEXT PRIMARY KEY,
    spec TEXT NOT NULL,                 -- JSON of the Cell or the Evaluation
    label TEXT NOT NULL,
    stream TEXT NOT NULL,
    needs TEXT NOT NULL,                -- JSON
    cost REAL NOT NULL,
    state TEXT NOT NULL,
    job INTEGER,                        -- the job it is trained for: of those that want it, the
    priority INTEGER NOT NULL,          -- one with the highest priority, then the oldest
    isolated INTEGER NOT NULL DEFAULT 0, -- its pack's worker died: it is tried in a pack of its own
    exhausted INTEGER NOT NULL DEFAULT 0, -- no retries are left; its failure is to be stored
    attempt TEXT,                       -- the current attempt while it runs, else the last one
    failures INTEGER NOT NULL DEFAULT 0, -- ends that count, since a client last queued it
    requeues INTEGER NOT NULL DEFAULT 0, -- ends that do not count
    node_losses INTEGER NOT NULL DEFAULT 0, -- those of the requeues whose node was lost
    checkpoint_attempt TEXT,            -- the attempt whose checkpoint it resumes from
    checkpoint_step INTEGER,
    since INTEGER NOT NULL,             -- only results accepted after this (us) are its result
    has_result INTEGER NOT NULL DEFAULT 0, -- it has succeeded before; also while it is retrained
    test_error REAL,                    -- percent, of the last success; null if it was not tested
    error TEXT,                         -- why it failed, one line
    changed INTEGER NOT NULL,           -- number of its last change, counted over all cells
    evaluates TEXT,                     -- key of the cell that it evaluates; null: it is a cell
    weights_attempt TEXT,               -- the attempt at that cell whose weights it evaluates
    waiting INTEGER NOT NULL DEFAULT 0  -- whether that cell is still to be trained
);
CREATE TABLE job_cells (                -- the work items that each job wants
    job INTEGER NOT NULL,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    recipe TEXT NOT NULL,               -- the job's name for it
    stored INTEGER NOT NULL,            -- whether it had a result when the job was submitted
    pending INTEGER NOT NULL,           -- whether the job still waits for it
    cancelled INTEGER NOT NULL DEFAULT 0, -- whether the job was cancelled before it ended
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
    exit_reason TEXT,
    counts INTEGER NOT NULL DEFAULT 0,  -- whether it counts as a failure of the cell
    message TEXT
);
"""
_TABLES_OF_VERSION_4 = """
CREATE TABLE pruned (                   -- jobs that are not in the queue any more
    job_id TEXT PRIMARY KEY,
    pruned_at TEXT NOT NULL             -- UTC
);
CREATE TABLE targets (                  -- who is told of ended jobs and failed cells
    target TEXT PRIMARY KEY             -- digest of a URL or a command
);
CREATE TABLE notifications (            -- what is to be delivered; a row for each target
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    body TEXT NOT NULL,                 -- JSON
    made REAL NOT NULL,                 -- seconds since 1970, like the next
    due REAL NOT NULL,                  -- not to be tried before
    tries INTEGER NOT NULL DEFAULT 0    -- those that have failed
);
"""
_INDEXES = """
CREATE INDEX cells_to_claim ON cells (needs, priority DESC, job, evaluates IS NOT NULL, cost DESC)
    WHERE state = 'queued' AND NOT exhausted AND NOT waiting;
CREATE INDEX cells_by_stream ON cells (stream, job, needs, cost DESC)
    WHERE state = 'queued' AND NOT exhausted AND NOT waiting AND NOT isolated;
CREATE INDEX cells_running ON cells (attempt) WHERE state = 'running';
CREATE INDEX cells_exhausted ON cells (key) WHERE exhausted;
CREATE INDEX cells_changed ON cells (changed);
CREATE INDEX cells_evaluated ON cells (evaluates) WHERE evaluates IS NOT NULL;
CREATE INDEX job_cells_by_key ON job_cells (key);
CREATE INDEX attempts_by_key ON attempts (key, started_at);
CREATE INDEX attempts_open ON attempts (key) WHERE ended_at IS NULL;
CREATE INDEX notifications_due ON notifications (target, due);
"""
# The first layout had other names, and recognised results by their test error, which a success
# without a test does not have.
_FROM_VERSION_1 = """
DROP INDEX cells_to_claim;
DROP INDEX cells_by_stream;
DROP INDEX cells_running;
DROP INDEX cells_spent;
DROP INDEX cells_changed;
DROP INDEX wants_by_key;
DROP INDEX attempts_by_key;
DROP INDEX attempts_open;
ALTER TABLE cells RENAME COLUMN alone TO isolated;
ALTER TABLE cells RENAME COLUMN spent TO exhausted;
ALTER TABLE cells RENAME COLUMN charged TO failures;
ALTER TABLE cells RENAME COLUMN uncharged TO requeues;
ALTER TABLE cells RENAME COLUMN state_attempt TO checkpoint_attempt;
ALTER TABLE cells RENAME COLUMN state_step TO checkpoint_step;
ALTER TABLE cells ADD COLUMN has_result INTEGER NOT NULL DEFAULT 0;
UPDATE cells SET has_result = 1 WHERE test_error IS NOT NULL OR state = 'succeeded';
ALTER TABLE wants RENAME TO job_cells;
ALTER TABLE job_cells RENAME COLUMN waits TO pending;
ALTER TABLE job_cells RENAME COLUMN dropped TO cancelled;
ALTER TABLE attempts RENAME COLUMN ending TO exit_reason;
ALTER TABLE attempts RENAME COLUMN charged TO counts;
ALTER TABLE attempts RENAME COLUMN reason TO message;
"""
# The second one had no evaluations.
_FROM_VERSION_2 = """
ALTER TABLE cells ADD COLUMN evaluates TEXT;
ALTER TABLE cells ADD COLUMN weights_attempt TEXT;
ALTER TABLE cells ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
"""
# The third one told nobody of ends, and forgot no jobs.
_FROM_VERSION_3 = f"""
ALTER TABLE jobs ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
{_TABLES_OF_VERSION_4}
"""


def _drop_indexes(*except_for: str) -> str:
    """Drops the present indexes, but for those that an older version did not have."""
    names = [line.split()[2] for line in _INDEXES.splitlines() if line.startswith("CREATE")]
    return "".join(f"DROP INDEX {name};\n" for name in names if name not in except_for)


_CHANGES = (  # by the version of the file
    _TABLES + _TABLES_OF_VERSION_4,
    _FROM_VERSION_1 + _FROM_VERSION_2 + _FROM_VERSION_3,
    _drop_indexes("cells_evaluated", "notifications_due") + _FROM_VERSION_2 + _FROM_VERSION_3,
    _drop_indexes("notifications_due") + _FROM_VERSION_3,
)


def lay_out(db: sqlite3.Connection, version: int) -> None:
    """Creates the tables in an empty file, or migrates an older layout, in one transaction.

    Args:
        db: connection without an open transaction.
        version: version of the file's layout; 0 if it is empty.
    """
    if version == VERSION:
        return
    change = _CHANGES[version]
    db.executescript(f"BEGIN;{change}{_INDEXES}PRAGMA user_version = {VERSION};COMMIT;")
