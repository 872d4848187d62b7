"""What people meet in a Python session: names to complete, and values that print as a line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

import stn_cluster
from stn_cluster.client.schemas import AttemptRecord, CellPage
from stn_cluster.config_file import parse_config
from stn_cluster.data.datasets import Dataset
from stn_cluster.grid import GridConfig, Needs
from stn_cluster.queue.attempts import Attempt, AttemptEnd, ExitReason, WorkerInfo
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, Job, JobStatus
from stn_cluster.recipes import Recipe, smoke
from stn_cluster.registry import lookup, resolve
from stn_cluster.store import Store

CONFIG = parse_config({"recipe": "smoke", "models": ["CNN"], "distortions": ["R"]})
[CELL] = resolve(CONFIG)
NOW = datetime(2026, 1, 31, tzinfo=UTC)
WORKER = WorkerInfo("node-3", "GPU", "2.15.0")
END = AttemptEnd(ExitReason.DIED, "killed", at=NOW)
ATTEMPT = Attempt("1f00", CELL, "job-1", 4, WORKER, NOW)
STATUS = CellStatus(CellName.of(CELL), CellState.SUCCEEDED, 8, test_error=1.5)


def test_dir_has_the_public_names_and_no_other() -> None:
    public = {name for name in dir(stn_cluster) if not name.startswith("_")}
    assert public == set(stn_cluster.__all__) - {"__version__"}
    assert all(getattr(stn_cluster, name) is not None for name in stn_cluster.__all__)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            CONFIG,
            "GridConfig(recipe=RecipeChoice(name='smoke'), models=('CNN',), distortions=('R',))",
        ),
        (GridConfig(), "GridConfig()"),
        (Needs(num_gpus=0.5), "Needs(num_gpus=0.5)"),
        (
            CELL,
            f"Cell('CNN/none/R/seed0', dataset='digits', recipe='smoke', key='{CELL.key}')",
        ),
        (Job("job-1", (CELL,)), "Job('job-1', 1 cell)"),
        (CellName.of(CELL), f"CellName(CNN/none/R/seed0, digits, smoke, {CELL.key})"),
        (STATUS, "CellStatus(CNN/none/R/seed0, succeeded, step 8 of 8, test error 1.50 %)"),
        (
            JobStatus(
                "job-1", CellState.RUNNING, {CellState.RUNNING: 2, CellState.SUCCEEDED: 1200}
            ),
            "JobStatus('job-1', running: 2 running, 1,200 succeeded)",
        ),
        (ATTEMPT, "Attempt('1f00', CNN/none/R/seed0, running on 'node-3')"),
        (
            AttemptRecord.of(Attempt("1f00", CELL, "job-1", 4, WORKER, NOW, end=END)),
            f"AttemptRecord('1f00', {CELL.key}, died)",
        ),
        (CellPage((STATUS,) * 2, None), "CellPage(2 cells, next_offset=None)"),
        (stn_cluster.Client("http://head:1", token="secret"), "Client('http://head:1')"),
        (lookup("model", "CNN"), "Entry(model 'CNN')"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_prints_as_one_short_line(value: object, text: str) -> None:
    assert repr(value) == text


def test_a_recipe_prints_the_fields_that_are_not_at_their_defaults() -> None:
    recipe = smoke()
    assert repr(recipe).startswith("Recipe(iterations=8, batch_size=16, optimizer='sgd', ")
    assert "ema" not in repr(recipe)
    assert eval(repr(recipe), {"Recipe": Recipe}) == recipe


def test_a_data_set_prints_its_sizes() -> None:
    images, labels = torch.zeros(6, 28, 28, dtype=torch.uint8), torch.arange(6)
    data = Dataset(images, labels, images[:4], labels[:4])
    assert repr(data) == "Dataset(6 training images, 4 test images, 10 classes)"


def test_a_store_prints_its_place(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    assert repr(store) == f"Store('{tmp_path / 'store'}')"
