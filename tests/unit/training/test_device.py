"""A row's device names all that decides its bits, beside the code."""

from __future__ import annotations

import torch
from support.packs import make_cells, train
from support.workers import HERE

from stn_cluster.cluster.rows import to_record
from stn_cluster.data.cache import DataCache
from stn_cluster.queue.attempts import Attempt, utc_now
from stn_cluster.stn.precision import bf16_kernel
from stn_cluster.training.device import device_name
from stn_cluster.training.outcome import Outcome

CPU = torch.device("cpu")


def test_what_multiplies_bf16_is_named_and_of_float32_nothing_is() -> None:
    plain = device_name(CPU)
    assert plain == device_name(CPU, "float32")
    assert "bf16" not in plain
    assert device_name(CPU, "bf16") == f"{plain}, bf16 by {bf16_kernel('cpu').name}"


def test_a_row_has_the_name_that_fits_its_cells_precision(data: DataCache) -> None:
    for precision in ("float32", "bf16"):
        [cell] = make_cells(models=["CNN"], recipe={"precision": precision, "iterations": 1})
        attempt = Attempt("a", cell, "j", 1, HERE, utc_now())
        row = to_record(attempt, train([cell], data)[cell.key]).row
        assert row["device"] == device_name(CPU, precision)


def test_a_cell_that_told_nothing_has_its_workers_device() -> None:
    [cell] = make_cells(models=["CNN"])
    attempt = Attempt("a", cell, "j", 1, HERE, utc_now())
    assert to_record(attempt, Outcome(key=cell.key, error="lost")).row["device"] == HERE.device
