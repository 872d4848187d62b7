"""The result store: one service writes it, and anyone may read it at any time.

The only writer of results is the coordinator, from one thread at a time; workers write checkpoints.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from pydantic import ValidationError

from stn_cluster.errors import HeldError, StoreError, UserError
from stn_cluster.failpoints import failpoint
from stn_cluster.grid import Cell, short_hash
from stn_cluster.private_files import close_file, make_lock_file, umask_for, why_not_ours
from stn_cluster.registry import with_present_name
from stn_cluster.store.compaction import Compaction, remove_replaced, usage
from stn_cluster.store.current import dated_current_files, read_current
from stn_cluster.store.files import Files
from stn_cluster.store.job_records import parse_job
from stn_cluster.store.ordered_export import export_in_order
from stn_cluster.store.outdated import OutdatedWarning, outdated
from stn_cluster.store.parquet import encode, lacks_columns
from stn_cluster.store.places import results, scan
from stn_cluster.store.published import refuse_published
from stn_cluster.store.record import (
    Record,
    file_name,
    files_of_evaluations,
    files_of_test_sets,
    to_files,
)
from stn_cluster.store.row_filters import FILTERS, refuse_no_match
from stn_cluster.store.scan import read_files, read_plugin_cells
from stn_cluster.store.schema import SCHEMAS, Kind

_FOLDERS = (*SCHEMAS, "checkpoints", "logs", "jobs", "report", "tmp")
_EMPTY = "0-schema.parquet"  # no rows; sorts before all others


class Store:
    """A folder or URI that holds results; make one with `Store.open`."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._last_accepted: datetime | None = None  # of the newest row; None: not read yet
        self._test_sets: set[str] | None = None  # stored test sets; None: not read yet

    @classmethod
    def open(cls, uri: str | os.PathLike[str], create: bool = False) -> Self:
        """Opens the store at a local path or a URI (s3://, gs://, file://).

        Args:
            uri: path or URI.
            create: make it if necessary, and check that it can be written to.

        Raises:
            StoreError: the path is a file; there is no store and `create` is false; or `create` is
                true and it is published or cannot be written to.
        """
        files, exists = Files.at(uri), cls.is_at(uri)
        if create:
            refuse_published(uri)
            # An object store has no folders; making its root fails if the bucket does not exist.
            for folder in _FOLDERS if files.local else ("",):
                files.make_folder(folder)
            probe = f"tmp/{uuid4().hex}"  # a test write is more reliable than reading permissions
            files.write(probe, b"")
            files.remove(probe)
            opened = cls(files)
            opened.renew()
            with suppress(StoreError):  # the rows are there all the same
                opened.finish_compaction()
        elif not exists:
            raise StoreError(
                f"{files.where()}: no result store here (a store has a folder cells/); "
                "`stn-cluster run CONFIG --store` makes one"
            )
        return cls(files)

    @staticmethod
    def is_at(uri: str | os.PathLike[str]) -> bool:
        """Whether there is a store at a path or URI.

        Raises:
            StoreError: it cannot be read, or is a file.
        """
        files = Files.at(uri)
        if files.is_file():
            raise StoreError(f"{files.where()}: is a file; a store is a folder")
        return files.is_folder("cells")

    @staticmethod
    def check_place(uri: str | os.PathLike[str]) -> None:
        """Checks that a store can be made at a path or URI, and leaves nothing there.

        Raises:
            StoreError: it cannot be written to.
        """
        Files.at(uri).check_root()

    @staticmethod
    def place(uri: str) -> Path | None:
        """Folder of a path or URI, or None if it is not on a local filesystem.

        Raises:
            StoreError: the URI's scheme is unknown, or it is not a URI.
        """
        return Files.at(uri).local

    @property
    def uri(self) -> str:
        """Absolute path of the store, or the URI it was opened with."""
        return self._files.uri

    @property
    def local_path(self) -> Path | None:
        """The store's folder, if it is on a local filesystem."""
        return self._files.local

    @property
    def name(self) -> str:
        """Path or URI of the store for people: without credentials that the URI may contain."""
        return self._files.where()

    def __repr__(self) -> str:
        return f"Store({self.name!r})"

    def renew(self) -> None:
        """Writes the files without rows, from which readers such as pandas read a folder's columns.

        In a store of an older version, they get the columns that were added since; rows do not
        change.

        Raises:
            StoreError: a file cannot be written, or is torn.
        """
        for kind in SCHEMAS:
            name = f"{kind}/{_EMPTY}"
            exists = self._files.is_file(name)
            if not exists or lacks_columns(kind, self._files.read(name), self._files.where(name)):
                self._files.write(name, encode(kind, ()))

    # --- results ---

    def commit(
        self, records: Sequence[Record], test_sets: Sequence[Mapping[str, Any]] = ()
    ) -> list[datetime]:
        """Adds ended attempts, all or none; once this returns, they survive a power cut.

        Args:
            records: the ended attempts.
            test_sets: rows of the test sets of their predictions, without schema_version; test sets
                that the store already has are skipped.

        Returns:
            Time of acceptance of each, `accepted_at`, strictly increasing.

        Raises:
            StoreError: the disk or network failed; nothing was added, and a retry is possible.
            ValueError: a record's columns are not the schema's.
        """
        if not records:
            return []
        times = self._next_accepted(len(records))
        self._write_rows(to_files(records, times), test_sets, times)
        return times

    def commit_evaluations(
        self, rows: Sequence[Mapping[str, Any]], test_sets: Sequence[Mapping[str, Any]] = ()
    ) -> list[datetime]:
        """Adds evaluations, all or none, like `commit`.

        Args:
            rows: rows of `evaluations`, without accepted_at and schema_version.
            test_sets: see `commit`.

        Returns, raises: see `commit`.
        """
        if not rows:
            return []
        times = self._next_accepted(len(rows))
        self._write_rows(files_of_evaluations(rows, times), test_sets, times)
        return times

    def add(self, kind: Kind, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows that belong to no commit, in one file; no lock is needed, nor does it matter
        whether the store is published.

        Raises:
            StoreError: it cannot be written; nothing was added.
            ValueError: a row's columns are not the schema's.
        """
        if rows:
            self._files.write(f"{kind}/{file_name(datetime.now(UTC))}", encode(kind, rows))

    def check(self, but: Container[Kind] = ()) -> None:
        """Checks every Parquet file of the store; deletes nothing.

        Args:
            but: kinds whose files are not looked at.

        Raises:
            StoreError: a file is torn, foreign or of a newer schema version.
        """
        for kind in SCHEMAS:
            if kind not in but:
                self.read(kind, columns=["schema_version"])

    def read(self, kind: Kind, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of one kind, in the order of commits, with all columns or those named.

        Raises:
            StoreError: a file is torn, foreign or of a newer schema version, or the store is gone.
        """
        tables = read_current(
            self._files, kind, lambda names: read_files(self._files, kind, names, columns)
        )
        empty = SCHEMAS[kind].empty_table().select(list(columns or SCHEMAS[kind].names))
        return pa.concat_tables([empty, *tables])

    def revision(self) -> str:
        """Text that changes whenever a row or a job is added: 16 hex digits.

        Raises:
            StoreError: the store cannot be listed, or is gone.
        """
        files = [sorted(dated_current_files(self._files, kind).items()) for kind in SCHEMAS]
        return short_hash([*files, self._files.dated("jobs")], digits=16)

    def predicted_classes(self, attempts: Container[str]) -> dict[str, list[int]]:
        """Predictions of attempts for their cells' own test sets, by attempt.

        Of files that have none of these, only the names of attempts are decoded.

        Raises:
            StoreError: see `read`.
        """
        return read_current(
            self._files, "predictions", lambda names: self._predicted_classes(names, attempts)
        )

    def results(
        self,
        latest: bool = True,
        *,
        columns: Sequence[str] | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Rows of `cells`, in the table's order.

        Args:
            latest: only the newest succeeded row of each key, or its newest failed one.
            columns: only these: the specs and confusion matrices of many rows take much memory.
            filters: only the rows that match them, see `load_results`.

        Raises:
            UserError: there is no such filter.
            StoreError: see `read`.
        """
        return results(self._files, filters or {}, latest, columns)

    def select(
        self, filters: Mapping[str, Any], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Current rows like those of `results`, but an error if no row matches the filters.

        Raises:
            UserError: there is no such filter, or no row matches: see `select`.
            StoreError: see `read`.
        """
        rows = self.results(columns=columns, filters=filters)
        if not len(rows):
            refuse_no_match(self.results(columns=FILTERS), filters)
        return rows

    def export(self, filters: Mapping[str, Any], form: str) -> Iterator[bytes]:
        """Rows of `select` as one file, csv or json: never all of them in memory.

        Raises:
            UserError, StoreError: see `select`.
        """
        self.select(filters, columns=["key"])
        return export_in_order(self._files, filters, form)

    def scan(self, filters: Mapping[str, Any], latest: bool = True) -> Iterator[pa.Table]:
        """Rows of `results` that match all filters, file by file, in the order of acceptance.

        Only the columns of the filters are held in memory for all rows.

        Raises:
            UserError: there is no such filter.
            StoreError: see `read`.
        """
        return scan(self._files, filters, latest)

    # --- jobs, reports, logs ---

    def write_job(self, job_id: str, record: Mapping[str, Any] | bytes) -> None:
        """Writes a job's record: job_id, submitted_at, config, and its cells; or its JSON."""
        if not isinstance(record, bytes):
            record = json.dumps(record, allow_nan=False).encode()
        self._files.write(f"jobs/{job_id}.json", record)

    def jobs(self) -> list[dict[str, Any]]:
        """Records of submitted jobs, oldest first.

        Raises:
            StoreError: a file is not the record of a job.
        """
        records = [self._job(name) for name in self._files.names("jobs", ".json")]
        return sorted(records, key=lambda job: (str(job.get("submitted_at")), job["job_id"]))

    def submitted(self) -> list[Cell]:
        """Cells of all jobs, each once per name of its recipe.

        Raises:
            StoreError: a job's record is malformed, or of a newer version.
        """
        specs = {  # without duplicates, as jobs share cells
            json.dumps(spec, sort_keys=True): (spec, record["job_id"])
            for record in self.jobs()
            for spec in record["cells"]
        }
        cells: dict[tuple[str, str], Cell] = {}
        for spec, job_id in specs.values():
            try:
                cell = with_present_name(Cell.model_validate(spec))
            except ValidationError as error:
                name = self._files.where(f"jobs/{job_id}.json")
                raise StoreError(f"{name}: its cells are from another version") from error
            cells[cell.key, cell.recipe] = cell
        return list(cells.values())

    def write_report(self, name: str, text: str) -> None:
        """Makes or replaces a file under report/."""
        self._files.write(f"report/{name}", text.encode())

    def append_log(self, key: str, attempt: str, text: str) -> None:
        """Appends to an attempt's log."""
        self._files.append(_log(key, attempt), text.encode())

    def read_log(self, key: str, attempt: str) -> str | None:
        """Log of an attempt, or None."""
        name = _log(key, attempt)
        if not self._files.is_file(name):
            return None
        return self._files.read(name).decode("utf-8", "replace")

    def logged_attempts(self, key: str) -> list[tuple[int, str]]:
        """Logs of a cell: the time of the last write (nanoseconds), and the attempt."""
        logs = self._files.dated(f"logs/{key}")
        return [(written, Path(name).stem) for name, written in logs if name.endswith(".log")]

    # --- plug-ins ---

    def has_plugin(self, digest: str) -> bool:
        """Whether the plug-in with this digest is here."""
        return self._files.is_file(f"plugins/{digest}.zip")

    def write_plugin(self, digest: str, packed: bytes, description: bytes) -> None:
        """Writes what a plug-in brings, under the digest of its files, by whoever submits it."""
        self._files.write(f"plugins/{digest}.json", description)
        self._files.write(f"plugins/{digest}.zip", packed)

    def read_plugin(self, digest: str) -> bytes | None:
        """What the plug-in with this digest brings, or None."""
        return self._files.read(f"plugins/{digest}.zip") if self.has_plugin(digest) else None

    def describe_plugin(self, digest: str) -> bytes | None:
        """Description of the plug-in with this digest: its module and files, or None."""
        name = f"plugins/{digest}.json"
        return self._files.read(name) if self._files.is_file(name) else None

    def outdated(self, keys: Callable[[], Iterable[str]]) -> list[str]:
        """Lines on results that are of an older version of a plug-in.

        Args:
            keys: gives the keys of the results; called only if there are any plug-ins.

        Raises:
            StoreError: see `read`.
        """
        if not self._files.names("plugins", ".json"):
            return []
        rows = read_current(
            self._files, "cells", lambda names: read_plugin_cells(self._files, names)
        )
        specs = dict(zip(rows["key"].to_pylist(), rows["spec"].to_pylist(), strict=True))
        return outdated((specs[key] for key in keys() if key in specs), self.describe_plugin)

    # --- checkpoints, published weights ---

    def read_weights(self, key: str) -> bytes | None:
        """Published weights of a cell, as safetensors, or None."""
        return self._files.read(f"weights/{key}.safetensors") if self.has_weights(key) else None

    def has_weights(self, key: str) -> bool:
        """Whether there are published weights of a cell."""
        return self._files.is_file(f"weights/{key}.safetensors")

    def published_weights(self) -> set[str]:
        """Keys of the cells with published weights."""
        names = self._files.names("weights", ".safetensors")
        return {name.removeprefix("weights/").removesuffix(".safetensors") for name in names}

    def has_checkpoint(self, key: str, attempt: str, name: str) -> bool:
        """Whether there is this checkpoint of an attempt."""
        return self._files.is_file(_checkpoint(key, attempt, name))

    def write_checkpoint(self, key: str, attempt: str, name: str, data: bytes) -> None:
        """Makes or replaces one of an attempt's checkpoints atomically."""
        self._files.write(_checkpoint(key, attempt, name), data)

    def read_checkpoint(self, key: str, attempt: str, name: str) -> bytes | None:
        """One of an attempt's checkpoints, or None."""
        if not self.has_checkpoint(key, attempt, name):
            return None
        return self._files.read(_checkpoint(key, attempt, name))

    def drop_checkpoint(self, key: str, attempt: str, name: str) -> None:
        """Removes one of an attempt's checkpoints, if it exists."""
        self._files.remove(_checkpoint(key, attempt, name))

    def checkpoints(self, key: str) -> list[tuple[str, str]]:
        """Checkpoints of a cell: attempt and name of each."""
        return [(attempt, name) for _, attempt, name in self._checkpoints(f"checkpoints/{key}")]

    def all_checkpoints(self) -> list[tuple[str, str, str]]:
        """Checkpoints of all cells: key, attempt and name of each."""
        return self._checkpoints("checkpoints")

    def compact(self, whole: bool = False) -> Compaction:
        """Compaction of the store's files; see there. Only the writer of the store may do this."""
        return Compaction(self._files, whole)

    def usage(self) -> dict[Kind, tuple[int, int]]:
        """Number of files of each kind, and their bytes.

        Raises:
            StoreError: the store cannot be listed.
        """
        return usage(self._files)

    def sweep(self) -> None:
        """Removes partial files of killed processes: those not written to for an hour."""
        oldest = (datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1e9
        for name, written in self._files.dated("tmp"):
            if written < oldest and self._files.is_inside(name):
                self._files.remove(name)

    def finish_compaction(self) -> None:
        """Removes the files that a killed process's compaction has replaced.

        Raises:
            StoreError: a compacted file is torn, or the disk or network failed.
        """
        for kind in SCHEMAS:
            for _ in remove_replaced(self._files, kind):
                pass

    def lock(self, wait: float = 0) -> ExitStack:
        """Locks a local store against other services until closed, or until this process ends.

        Does nothing on an object store.

        Raises:
            StoreError: another service holds the store, and did so for `wait` seconds.
        """
        held = ExitStack()
        if self.local_path is None:
            return held
        file = self.local_path / "lock"
        with suppress(UserError):  # somebody else's, in a folder of a group
            close_file(file, umask_for(self.local_path))  # whoever can read it could hold it
        try:  # thread_local=False: any thread may release it
            make_lock_file(file)
            held.enter_context(FileLock(file, timeout=wait, thread_local=False))
        except Timeout:
            raise HeldError(f"another service holds this store: {self.local_path}") from None
        except OSError as error:
            reason = why_not_ours(file, error) or error.strerror
            raise StoreError(f"{file}: cannot be locked: {reason}") from error
        return held

    # --- inside ---

    def _checkpoints(self, folder: str) -> list[tuple[str, str, str]]:
        names = [name for name in self._files.names(folder) if self._files.is_inside(name)]
        paths = [name.split("/")[1:] for name in names]
        return [(path[0], path[1], path[2]) for path in paths if len(path) == 3]

    def _predicted_classes(
        self, names: Sequence[str], attempts: Container[str]
    ) -> dict[str, list[int]]:
        found = {}
        for name in names:
            [index] = read_files(self._files, "predictions", [name], ["attempt"])
            rows = [
                i for i, attempt in enumerate(index["attempt"].to_pylist()) if attempt in attempts
            ]
            if not rows:
                continue
            columns = ["attempt", "predictions", "predictions_wide"]
            [table] = read_files(self._files, "predictions", [name], columns)
            for row in table.take(rows).to_pylist():
                found[row["attempt"]] = row["predictions"] or row["predictions_wide"]
        return found

    def _next_accepted(self, count: int) -> list[datetime]:
        """Strictly increasing times from now on, or just after the newest row if the clock was set
        back."""
        if self._last_accepted is None:
            kinds: tuple[Kind, ...] = ("cells", "evaluations")
            newest = [pc.max(self.read(k, ["accepted_at"])["accepted_at"]).as_py() for k in kinds]
            self._last_accepted = max((time for time in newest if time), default=None)
        first = datetime.now(UTC)
        if self._last_accepted is not None:
            first = max(first, self._last_accepted + timedelta(microseconds=1))
        return [first + timedelta(microseconds=index) for index in range(count)]

    def _write_rows(
        self,
        files: Mapping[str, bytes],
        test_sets: Sequence[Mapping[str, Any]],
        times: Sequence[datetime],
    ) -> None:
        """Writes files of rows, after those of new test sets."""
        if self._test_sets is None:
            known = self.read("test_sets", columns=["test_set"])["test_set"]
            self._test_sets = set(known.to_pylist())
        new = {row["test_set"]: row for row in test_sets if row["test_set"] not in self._test_sets}
        self._write_all({**files_of_test_sets(list(new.values())), **files})
        self._test_sets |= set(new)
        self._last_accepted = times[-1]

    def _write_all(self, contents: Mapping[str, bytes]) -> None:
        """Writes files in order; if one fails, removes those before it."""
        tried: list[str] = []
        try:
            for name, content in contents.items():
                tried.append(name)
                self._files.write(name, content)
                failpoint(f"{name.partition('/')[0]}-written")
        except StoreError:
            # Otherwise a retry of the commit would store an attempt's predictions twice.
            for name in reversed(tried):
                with suppress(StoreError):
                    self._files.remove(name)
            raise

    def _job(self, name: str) -> dict[str, Any]:
        return parse_job(name, self._files.read(name), self._files.where(name))


def load_results(
    store: str | os.PathLike[str] | Store,
    *,
    columns: Sequence[str] | None = None,
    **filters: Any,
) -> pd.DataFrame:
    """Loads the current result of each cell: its newest succeeded row, or its newest failed one.

    Args:
        store: a store, or its path or URI.
        columns: only these, as those of many rows take much memory; None: all.
        filters: dataset, recipe, model, transform, distortion, seed, key, status: one value or
            several; as in `load_results("results/mnist-v1", model="ST-CNN", seed=[0, 1])`.

    Returns:
        The columns of `cells`, in the order of the table; no rows if nothing matches. Times are
        UTC, without a time zone, so that Excel takes them; confusion matrices are lists.

    Warns:
        OutdatedWarning: a plug-in's files here are not those that a result was made with.

    Raises:
        UserError: there is no such filter.
        StoreError: there is no store, or a file in it is torn, foreign or newer.
    """
    if isinstance(store, Store):
        return store.results(columns=columns, filters=filters)
    opened = Store.open(store)
    rows = opened.results(columns=columns, filters=filters)
    for line in opened.outdated(lambda: opened.results(columns=["key"], filters=filters)["key"]):
        warnings.warn(line, OutdatedWarning, stacklevel=2)
    return rows


def _log(key: str, attempt: str) -> str:
    return f"logs/{key}/{attempt}.log"


def _checkpoint(key: str, attempt: str, name: str) -> str:
    return f"checkpoints/{key}/{attempt}/{name}"
