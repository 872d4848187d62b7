"""Which cells a verification trains again, and what it says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.graded_stores import CLASSES, graded_record, labels_of
from support.records import make_record

from stn_cluster.cluster.verify_cells import Drawn, compare_trained, draw_cells
from stn_cluster.config_file import parse_config
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, JobStatus
from stn_cluster.registry import resolve
from stn_cluster.store import Record, Store

IMAGES = 50
FIELDS: dict[str, Any] = {"recipe": "smoke", "models": ["FCN", "CNN"], "seeds": [0, 1]}


@pytest.fixture
def cells() -> list[Cell]:
    return resolve(parse_config(FIELDS))


def answered(cell: Cell, **row: Any) -> Record:
    """A success that gets every image right."""
    record = graded_record(cell, np.zeros(IMAGES, bool), **row)
    assert record.predictions is not None
    probabilities = {"confidence": [60_000] * IMAGES, "second": [0] * IMAGES}
    return replace(record, predictions={**record.predictions, **probabilities})


def otherwise(record: Record, **columns: Any) -> Record:
    """The record with other predictions."""
    assert record.predictions is not None
    return replace(record, predictions={**record.predictions, **columns})


def ended(cells: list[Cell], **states: CellState) -> JobStatus:
    statuses = tuple(
        CellStatus(CellName.of(cell), states.get(cell.key, CellState.SUCCEEDED)) for cell in cells
    )
    return JobStatus("verify", CellState.SUCCEEDED, {}, cells=statuses)


def keys_of(drawn: Drawn) -> list[str]:
    return [cell.key for cell in drawn.job.cells]


def test_all_cells_with_a_result_are_trained_again_in_the_order_of_their_keys(
    store: Store, cells: list[Cell]
) -> None:
    records = [answered(cell) for cell in cells]
    store.commit(records)
    drawn = draw_cells(store, {})
    assert keys_of(drawn) == sorted(cell.key for cell in cells)
    assert set(drawn.results["attempt"]) == {record.row["attempt"] for record in records}
    assert (drawn.total, list(drawn.left_out), drawn.job.force) == (len(cells), [], True)
    chosen = draw_cells(store, {"model": ["CNN"], "seed": [1]})
    assert {cell.label for cell in chosen.job.cells} == {
        f"CNN/none/{distortion}/seed1" for distortion in ("R", "RTS", "P", "E")
    }


def test_a_sample_is_drawn_by_its_seed_and_from_what_the_filters_leave(
    store: Store, cells: list[Cell]
) -> None:
    store.commit([answered(cell) for cell in cells])
    draws = [keys_of(draw_cells(store, {}, sample=3, sample_seed=seed)) for seed in range(20)]
    assert {len(set(draw)) for draw in draws} == {3}
    assert set().union(*draws) == {cell.key for cell in cells}
    assert keys_of(draw_cells(store, {}, sample=3, sample_seed=7)) == draws[7]
    assert len(keys_of(draw_cells(store, {}, sample=1000))) == len(cells)
    one = draw_cells(store, {"model": ["FCN"]}, sample=2)
    assert ({cell.model for cell in one.job.cells}, one.total) == ({"FCN"}, 8)


def test_what_cannot_be_verified_is_left_out_and_told(store: Store, cells: list[Cell]) -> None:
    good, failed, silent, *old = cells[:7]
    changed = [cell.model_copy(update={"revisions": {"model:CNN": 0}}) for cell in old]
    store.commit(
        [
            *(answered(cell) for cell in (good, *changed)),
            make_record(failed, error=None),
            replace(answered(silent), predictions=None),
        ]
    )
    drawn = draw_cells(store, {})
    assert (keys_of(drawn), drawn.total) == ([good.key], 1)
    assert sorted(drawn.left_out) == sorted(
        [
            f"{failed.label}: failed",
            f"{silent.label}: the store has no predictions of it",
            f"{', '.join(cell.label for cell in old[:3])} and 1 more: its components, its data or "
            "its weights have changed since, so that it is another cell",
        ]
    )
    with pytest.raises(UserError, match=r"no cell can be verified: .*: failed$"):
        draw_cells(store, {"key": [failed.key]})


def test_a_component_that_is_gone_is_told_by_its_name(store: Store, cells: list[Cell]) -> None:
    spec = cells[0].model_copy(update={"model": "gone"})
    store.commit([answered(spec)])
    with pytest.raises(UserError, match=r"no cell can be verified: gone/.*'gone'"):
        draw_cells(store, {})


@pytest.mark.parametrize(
    ("filters", "sample", "match"),
    [
        ({}, 0, "--sample: at least 1, not 0"),
        ({"model": ["ST-CNN"]}, None, "no cell matches model=ST-CNN; model here: CNN, FCN"),
    ],
)
def test_wrong_draws_are_refused(
    store: Store, cells: list[Cell], filters: dict[str, Any], sample: int | None, match: str
) -> None:
    store.commit([answered(cell) for cell in cells])
    with pytest.raises(UserError, match=match):
        draw_cells(store, filters, sample=sample)


def test_a_store_without_results_has_nothing_to_verify(store: Store) -> None:
    with pytest.raises(UserError, match="no cell has ended here, so there is none to verify"):
        draw_cells(store, {})


def predicted(*changed: int) -> NDArray[np.int64]:
    """Right predictions, but for the images that are named."""
    truth = labels_of(IMAGES)
    return np.where(np.isin(np.arange(IMAGES), changed), (truth + 1) % CLASSES, truth)


def test_trained_cells_are_compared_image_by_image_and_bit_by_bit(
    tmp_path: Path, store: Store, cells: list[Cell]
) -> None:
    same, other, nearly, unlike, failed = cells[:5]
    store.commit([answered(cell) for cell in cells[:5]])
    store.commit([answered(other)])  # a rerun: its attempt is the current one
    work = Store.open(tmp_path / "work", create=True)
    place = {"device": "another", "torch_version": "9.9"}
    point = {"step": 7, "train_loss": 0.25 + 2**-54, "lr": 0.01, "test_error": None}
    work.commit(
        [
            answered(same, **place),
            otherwise(answered(other), predictions=predicted(1, 5, 7).tolist()),
            otherwise(answered(nearly), confidence=[60_000] * (IMAGES - 1) + [60_001]),
            replace(answered(unlike), curve=(point,)),
            answered(failed),  # of an earlier verification
        ]
    )
    drawn = draw_cells(store, {})
    status = ended(cells[:5], **{failed.key: CellState.FAILED})
    found = {one.key: one for one in compare_trained(store, work, drawn, status)}
    assert {key: (one.n_test, one.n_differ, one.identical) for key, one in found.items()} == {
        same.key: (IMAGES, 0, True),
        other.key: (IMAGES, 3, False),
        nearly.key: (IMAGES, 0, False),
        unlike.key: (IMAGES, 0, False),
    }
    assert (found[same.key].device, found[same.key].torch) == ("another", "9.9")
    current = store.results().set_index("key")["attempt"]
    assert {key: one.attempt for key, one in found.items()} == {k: current[k] for k in found}


def test_what_only_one_of_both_stored_is_not_compared(
    tmp_path: Path, store: Store, cells: list[Cell]
) -> None:
    """Rows of schema version 1 have neither probabilities nor second classes."""
    [cell] = cells[:1]
    store.commit([graded_record(cell, np.zeros(IMAGES, bool), version=1)])
    work = Store.open(tmp_path / "work", create=True)
    work.commit([answered(cell)])
    [one] = compare_trained(store, work, draw_cells(store, {}), ended([cell]))
    assert (one.n_differ, one.identical) == (0, True)


def test_other_numbers_of_images_are_all_different(
    tmp_path: Path, store: Store, cells: list[Cell]
) -> None:
    [cell] = cells[:1]
    store.commit([answered(cell)])
    work = Store.open(tmp_path / "work", create=True)
    work.commit([graded_record(cell, np.zeros(IMAGES - 1, bool))])
    [one] = compare_trained(store, work, draw_cells(store, {}), ended([cell]))
    assert (one.n_test, one.n_differ, one.identical) == (IMAGES, IMAGES, False)
