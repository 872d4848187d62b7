"""Which data sets have changed since a store's cells were trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.photographs import write_archive
from support.records import make_record

from stn_cluster.cluster.changed_data import changed_datasets, say_changed_data
from stn_cluster.cluster.make_jobs import grid_job, rerun_job
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.store import Store

CONFIG = {"dataset": "signs", "models": ["FCN"], "distortions": ["R", "RTS"], "recipe": "smoke"}


def cells(root: Path) -> tuple[Cell, ...]:
    return grid_job(dict(CONFIG), data_root=root).cells


@pytest.fixture
def root(tmp_path: Path, store: Store) -> Path:
    """A data root with the data set 'signs', whose cells the store has."""
    write_archive(tmp_path, "signs", 3, 12)
    store.commit([make_record(cell) for cell in cells(tmp_path)])
    return tmp_path


def test_a_changed_data_set_is_said(
    root: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert changed_datasets(cells(root), store) == []
    write_archive(root, "signs", 2, 12)
    assert changed_datasets(cells(root), store) == ["signs"]
    say_changed_data(cells(root), store.uri)
    told = "data set 'signs' has changed since cells of it were trained: they are trained anew\n"
    assert capsys.readouterr().err == told
    store.commit([make_record(cell) for cell in cells(root)])
    assert changed_datasets(cells(root), store) == []


def test_others_are_not_said_to_have_changed(root: Path, store: Store, tmp_path: Path) -> None:
    write_archive(root, "signs", 2, 12)
    new = grid_job(CONFIG | {"models": ["ST-FCN"]}, data_root=root).cells
    assert changed_datasets(new, store) == []
    assert changed_datasets(grid_job(CONFIG | {"dataset": "digits"}).cells, store) == []
    say_changed_data(cells(root), str(tmp_path / "no-store-yet"))


def test_a_rerun_is_of_what_the_files_are_now(root: Path, store: Store) -> None:
    before = sorted(cell.key for cell in cells(root))
    assert sorted(cell.key for cell in rerun_job(store, {}, data_root=root).cells) == before
    write_archive(root, "signs", 2, 12)
    again = rerun_job(store, {}, data_root=root).cells
    assert sorted(cell.key for cell in again) == sorted(cell.key for cell in cells(root))
    assert {cell.data.n_classes for cell in again} == {2}
    write_archive(root, "signs", 2, 16)
    with pytest.raises(UserError, match="'signs' had images of 12 pixels, and has some of 16"):
        rerun_job(store, {}, data_root=root)
    (root / "signs.npz").unlink()
    with pytest.raises(UserError, match="unknown dataset 'signs'"):
        rerun_job(store, {}, data_root=root)


def test_stored_names_leave_the_usual_canvas_out(root: Path, store: Store) -> None:
    assert set(store.results()["distortion"]) == {"R", "RTS"}
