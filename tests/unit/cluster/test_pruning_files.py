"""Files that pruning reads: each once, and an attempt that lies in several."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.grown_stores import GrownStore
from support.queues import cells
from support.records import make_record

from stn_cluster import load_results
from stn_cluster.store.files import Files

NOW = timedelta(0)


@pytest.fixture
def grown(tmp_path: Path) -> GrownStore:
    return GrownStore(tmp_path / "store")


@pytest.mark.parametrize("choice", [{"superseded": True}, {"older_than": NOW}])
@pytest.mark.parametrize("with_queue", [True, False])
def test_each_file_of_predictions_is_read_once_however_many_jobs_and_cells_there_are(
    grown: GrownStore, monkeypatch: pytest.MonkeyPatch, choice: dict[str, Any], with_queue: bool
) -> None:
    for number in range(4):
        grown.train(f"job{number}", cells(3), force=True)
    if not with_queue:
        for path in grown.state.iterdir():
            path.unlink()
    read: list[str] = []
    for name in ("open", "read"):
        monkeypatch.setattr(Files, name, _noted(read, getattr(Files, name)))
    for dry_run in (True, False):
        files = {f"predictions/{p.name}" for p in grown.folder.glob("predictions/*.parquet")}
        read.clear()
        grown.prune(dry_run=dry_run, **choice)
        found = sorted(name for name in read if name.startswith("predictions/"))
        assert found == sorted(files)


def _noted(names: list[str], call: Any) -> Any:
    def noting(files: Files, name: str) -> Any:
        names.append(name)
        return call(files, name)

    return noting


def test_an_attempt_that_lies_twice_in_the_store_is_not_replaced_by_itself(
    grown: GrownStore,
) -> None:
    [old] = grown.train("a", cells(1))
    [newest] = grown.train("b", cells(1), force=True, evaluated=True)
    [only] = grown.train("c", cells(1, first=1))
    for attempt, cell in ((newest, cells(1)[0]), (only, cells(1, first=1)[0])):
        # Accepted once more, as after an answer of an object store that did not arrive.
        grown.store.commit([make_record(cell, attempt=attempt, job_id="b")])
        for path in sorted(grown.folder.glob("cells/2*.parquet"))[-1:]:  # and copied by hand
            path.with_name(f"{path.stem[:-1]}x.parquet").write_bytes(path.read_bytes())
    shown = load_results(grown.folder)
    for narrowed in ({"older_than": NOW}, {}):
        grown.prune("b", superseded=True, **narrowed)
        grown.prune(superseded=True, **narrowed)
        assert set(grown.attempts()) == {newest, only}
        assert load_results(grown.folder).equals(shown)
        assert grown.logs() == {newest, only}
    assert old not in grown.attempts("curves")
    assert newest in grown.attempts("evaluations")
