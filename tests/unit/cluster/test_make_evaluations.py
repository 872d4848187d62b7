"""Evaluations that are asked for: their test sets, identities, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.packs import make_cells
from support.stored import train_into

from stn_cluster.cluster.make_evaluations import (
    check_weights_are_here,
    evaluations_of,
    stored_cells,
)
from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.cluster.rows import stored_results
from stn_cluster.config_file import parse_config
from stn_cluster.errors import NotFoundError, UserError
from stn_cluster.evaluate_config import Evaluate
from stn_cluster.evaluations import Evaluation
from stn_cluster.grid import Cell, GridConfig
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.store import Store


def cell_of(distortion: str = "R", **fields: Any) -> Cell:
    [cell] = make_cells(models=["FCN"], distortions=[distortion], **fields)
    return cell


def asked(*cells: Cell, **fields: Any) -> tuple[Evaluation, ...]:
    return evaluations_of(cells, Evaluate(**fields))


def test_each_cell_is_on_each_test_set_at_each_severity_and_clean_once() -> None:
    found = asked(cell_of("R"), cell_of("RTS"), on=("clean", "R", "P:xy@1.5"), severity=(1, 2))
    assert [one.label for one in found[:4]] == [
        "FCN/none/R/seed0 on clean",
        "FCN/none/R/seed0 on R",
        "FCN/none/R/seed0 on R@2",
        "FCN/none/R/seed0 on P:xy@1.5",
    ]
    assert len(found) == 8


def test_minus_nothing_is_nothing() -> None:
    zero, minus = (asked(cell_of(), on="R", severity=severity) for severity in (0.0, -0.0))
    assert minus == zero
    assert [str(one.on) for one in minus] == [str(one.on) for one in zero]


def test_worst_of_adds_a_row_to_each_distorted_set() -> None:
    found = asked(cell_of(), on=("clean", "R"), severity=(1, 2), worst_of=10)
    assert [one.tested_on for one in found] == [
        *("clean", "R", "R, worst of 10", "R@2", "R@2, worst of 10")
    ]
    assert [one.test.worst_of for one in found] == [1, 1, 10, 1, 10]


def test_the_own_distortion_at_severity_0_is_clean() -> None:
    [one] = asked(cell_of("RTS"), on=("RTS@0", "clean"))
    assert (one.on, one.test.severity) == ("clean", 0)
    [other] = asked(cell_of("RTS"), on="R@0")
    assert other.on == "R@0"
    [plain] = asked(cell_of("clean"), on="clean", severity=2)
    assert plain.is_own_test


def test_an_identity_tells_weights_test_set_severity_draws_and_revisions() -> None:
    cell = cell_of()
    revised = cell.model_copy(update={"revisions": {**cell.revisions, "model:FCN": 99}})
    found = [
        *asked(cell, on=("R", "RTS", "R@2", "clean"), worst_of=2),
        *asked(revised, on="R"),
        *asked(cell_of("E"), on="R"),
    ]
    assert len({one.key for one in found}) == len(found)
    assert all(len(one.key) == 16 for one in found)
    again = Evaluation.model_validate_json(found[0].model_dump_json())
    assert (again, again.key) == (found[0], found[0].key)
    assert found[0].renamed("other").key == found[0].key


def test_identities_stay_what_they_are() -> None:
    """Rows of published stores have them."""
    found = asked(cell_of(), on=("clean", "R", "RTS:rotated-frame@2"), worst_of=10)
    assert {one.tested_on: one.key for one in found} == KNOWN


KNOWN = {
    "clean": "d1fa2da216fbc480",
    "R": "05f82d34cb52cf12",
    "R, worst of 10": "b09fbb59a78299c5",
    "RTS:rotated-frame@2": "112c66f3afbb3f3e",
    "RTS:rotated-frame@2, worst of 10": "93b3884e2d841d43",
}


def test_only_the_own_plain_test_is_one() -> None:
    found = asked(cell_of("R"), on=("clean", "R", "RTS", "R@2"), worst_of=3)
    assert [one.tested_on for one in found if one.is_own_test] == ["R"]


def test_another_data_set_has_other_test_sets_and_the_cells_weights() -> None:
    cell = cell_of("P")
    [own] = asked(cell, on="R")
    [other] = asked(cell, on="R", dataset="digits-validation")
    assert own.test.name != other.test.name
    assert other.base.dataset == "digits-validation"
    assert other.base.data == cell.data
    assert other.test.cell.data.frame == 42  # on enlarged images
    assert other.label == "FCN/none/P/seed0 on R of digits-validation"
    assert (other.weights, other.cell) == (cell.key, cell)


def test_a_data_set_of_other_images_is_refused(tmp_path: Path) -> None:
    images = np.zeros((12, 16, 16), np.uint8)
    labels = np.arange(12) % 10
    np.savez(
        tmp_path / "small.npz",
        **{
            f"{part}_{what}": value
            for part in ("train", "test")
            for what, value in (("images", images), ("labels", labels))
        },
    )
    with pytest.raises(UserError, match="data set 'small' has frame 16, and FCN/none/R/seed0 was"):
        evaluations_of([cell_of()], Evaluate(dataset="small"), tmp_path)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"on": ["R:42"]}, "without a canvas, which is that of the cell"),
        ({"on": ["RST"]}, "unknown distortion 'RST': did you mean 'RTS'"),
        ({"on": ["R@4"]}, "a number from 0 to 3"),
        ({"dataset": "mnits"}, "unknown dataset 'mnits'"),
    ],
)
def test_what_there_is_not_is_refused_with_its_field(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason) as refused:
        asked(cell_of(), **fields)
    assert refused.value.field == f"evaluate.{next(iter(fields))}"


# --- configs ---


@pytest.mark.parametrize(
    ("evaluate", "reason"),
    [
        ({"severity": [4]}, "evaluate.severity.0: .*less than or equal to 3"),
        ({"worst_of": 0}, "evaluate.worst_of: .*greater than or equal to 1"),
        ({"on": []}, "evaluate.on: .*at least 1"),
        ({"filters": {"model": "CNN"}}, "filters: with `of: store` alone"),
        ({"of": "stores"}, "evaluate.of: "),
        ({"severty": 1}, "evaluate.severty: unknown field 'severty': did you mean 'severity'"),
    ],
)
def test_a_config_that_is_wrong_is_refused(evaluate: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        parse_config({"evaluate": evaluate})


def test_a_config_of_the_store_trains_nothing() -> None:
    with pytest.raises(UserError, match="models: `evaluate` with `of: store` trains nothing"):
        parse_config({"models": ["CNN"], "evaluate": {"of": "store"}})
    config = parse_config({"evaluate": {"of": "store", "on": "R", "severity": 2}})
    assert not config.trains
    assert config.evaluate is not None
    assert (config.evaluate.on, config.evaluate.severity) == (("R",), (2.0,))
    assert GridConfig().model_dump(exclude_defaults=True) == {}


def test_a_config_evaluates_its_own_cells() -> None:
    job = grid_job({"recipe": "smoke", "models": ["FCN"], "evaluate": {"on": ["R", "E"]}})
    assert len(job.cells) == 4
    assert len(job.evaluations) == 8
    assert {one.cell.key for one in job.evaluations} == {cell.key for cell in job.cells}
    other = grid_job({"recipe": "smoke", "models": ["FCN"], "evaluate": {"on": ["R"]}})
    assert other.digest != job.digest


# --- stores ---


def test_a_job_of_a_store_evaluates_what_it_has(store: Store) -> None:
    cells = make_cells(models=["FCN", "CNN"], distortions=["R"], recipe={"iterations": 1})
    train_into(store, cells)
    found = stored_cells(store, {"model": "CNN"})
    assert [cell.key for cell in found] == [cells[1].key]
    config = {"name": "evaluate", "evaluate": {"of": "store", "filters": {"model": "CNN"}}}
    job = grid_job(config, store=store)
    assert (job.cells, len(job.evaluations)) == ((), 5)
    with pytest.raises(UserError, match="no cell matches model=FNC"):
        stored_cells(store, {"model": "FNC"})


def test_an_empty_store_is_said(store: Store) -> None:
    with pytest.raises(UserError, match="no cell has been trained here"):
        stored_cells(store, {})


def test_missing_weights_are_a_line_with_the_command_that_trains_the_cell(store: Store) -> None:
    [cell] = cells = make_cells(models=["FCN"], distortions=["R"], recipe={"iterations": 1})
    train_into(store, cells)
    evaluations, known = asked(cell, on=("R", "E")), stored_results(store)
    check_weights_are_here(evaluations, store, known)
    store.checkpoints.drop(cell.key, "a0", WEIGHTS)
    line = rf"the weights of FCN/none/R/seed0 are not here; this trains it: .* --key {cell.key}"
    with pytest.raises(NotFoundError, match=line):
        check_weights_are_here(evaluations, store, known)
    check_weights_are_here(asked(cell, on="R"), store, known)  # its predictions are stored
