"""The result store: one service writes it, and anyone may read it at any time.

The only writer of results is the coordinator, from one thread at a time; workers write checkpoints.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import pandas as pd
import pyarrow as pa
from pydantic import ValidationError

from stn_cluster.errors import StoreError
from stn_cluster.grid import Cell, short_hash
from stn_cluster.registry import with_present_name
from stn_cluster.store.attempt_logs import AttemptLogs
from stn_cluster.store.commits import Commits
from stn_cluster.store.compaction import Compaction, remove_replaced, usage
from stn_cluster.store.current import dated_current_files, read_current
from stn_cluster.store.files import Files
from stn_cluster.store.job_records import parse_job
from stn_cluster.store.locking import lock
from stn_cluster.store.ordered_export import export_in_order
from stn_cluster.store.outdated import outdated
from stn_cluster.store.parquet import encode, lacks_columns
from stn_cluster.store.places import results, scan
from stn_cluster.store.plugin_archives import PluginArchives
from stn_cluster.store.published import refuse_published
from stn_cluster.store.published_weights import PublishedWeights
from stn_cluster.store.record import Record, file_name
from stn_cluster.store.row_filters import FILTERS, refuse_no_match
from stn_cluster.store.scan import read_files, read_plugin_cells
from stn_cluster.store.schema import SCHEMAS, Kind
from stn_cluster.store.stored_checkpoints import Checkpoints

_FOLDERS = (*SCHEMAS, "checkpoints", "logs", "jobs", "report", "tmp")
_EMPTY = "0-schema.parquet"  # no rows; sorts before all others


class Store:
    """A folder or URI that holds results; make one with `Store.open`.

    Its methods are about rows and jobs; `checkpoints`, `weights`, `logs` and `plugins` about files.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._commits = Commits(files, self.read)
        self.checkpoints = Checkpoints(files)
        self.weights = PublishedWeights(files)
        self.logs = AttemptLogs(files)
        self.plugins = PluginArchives(files)

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
        return self._commits.add(records, test_sets)

    def commit_evaluations(
        self, rows: Sequence[Mapping[str, Any]], test_sets: Sequence[Mapping[str, Any]] = ()
    ) -> list[datetime]:
        """Adds evaluations, all or none, like `commit`.

        Args:
            rows: rows of `evaluations`, without accepted_at and schema_version.
            test_sets: see `commit`.

        Returns, raises: see `commit`.
        """
        return self._commits.add_evaluations(rows, test_sets)

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

    # --- jobs, reports, plug-ins ---

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

    def outdated(self, keys: Callable[[], Iterable[str]]) -> list[str]:
        """Lines on results that are of an older version of a plug-in.

        Args:
            keys: gives the keys of the results; called only if there are any plug-ins.

        Raises:
            StoreError: see `read`.
        """
        if not self.plugins:
            return []
        rows = read_current(
            self._files, "cells", lambda names: read_plugin_cells(self._files, names)
        )
        specs = dict(zip(rows["key"].to_pylist(), rows["spec"].to_pylist(), strict=True))
        return outdated((specs[key] for key in keys() if key in specs), self.plugins.describe)

    # --- upkeep ---

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
        return ExitStack() if self.local_path is None else lock(self.local_path, wait)

    # --- inside ---

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

    def _job(self, name: str) -> dict[str, Any]:
        return parse_job(name, self._files.read(name), self._files.where(name))
