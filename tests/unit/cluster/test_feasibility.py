"""Feasibility: what this machine can never give is refused, and fewer workers are told of."""

from __future__ import annotations

from typing import Any

import pytest
from support.records import make_cell
from support.workers import make_nodes

from stn_cluster.cluster.embedded_ray import _logical_cores
from stn_cluster.cluster.feasibility import check_machine, cores_per_worker
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell, Needs


def needing(**needs: Any) -> Cell:
    return make_cell().model_copy(update={"needs": Needs.model_validate(needs)})


def check(*cells: Cell, has: dict[str, float], asked: int | None = None, **settings: Any) -> Any:
    service = Settings(store="store", state="state", workers=asked, **settings)
    return check_machine(cells or (make_cell(),), service, make_nodes(has), asked=asked)


@pytest.mark.parametrize(
    ("cell", "settings", "has", "told"),
    [
        (
            make_cell(),
            {"threads_per_worker": 4},
            {"CPU": 2.0},
            "a worker takes 4 CPU (--threads-per-worker), and this machine has 2 CPU",
        ),
        (
            needing(num_gpus=2),
            {},
            {"CPU": 2.0, "GPU": 1.0},
            "a worker takes 2 GPU (needs in the config), and this machine has 1 GPU",
        ),
        (
            needing(num_gpus=1),
            {},
            {"CPU": 2.0},
            "a worker takes 1 GPU (needs in the config), and this machine has no GPU",
        ),
        (
            needing(resources={"fast_disk": 1}),
            {},
            {"CPU": 2.0},
            "a worker takes 1 CPU, 1 fast_disk (needs in the config), and this machine has 2 CPU, "
            "no fast_disk",
        ),
        (
            needing(accelerator_type="H100"),
            {},
            {"CPU": 2.0, "GPU": 1.0},
            "a worker takes 1 GPU, accelerator_type:H100 (needs in the config), and this machine "
            "has 1 GPU, no accelerator_type:H100",
        ),
    ],
)
def test_what_this_machine_can_never_give_is_refused_in_one_line(
    cell: Cell, settings: dict[str, Any], has: dict[str, float], told: str
) -> None:
    with pytest.raises(UserError) as caught:
        check(make_cell(), cell, has=has, **settings)
    assert str(caught.value) == told


def test_what_there_is_room_for_is_not_spoken_of() -> None:
    assert check(has={"CPU": 2.0}, asked=2) == ()
    assert check(has={"CPU": 2.0}) == ()
    assert check(has={"CPU": 2.0}, asked=1, threads_per_worker=2) == ()
    assert check(needing(num_gpus=0.5), has={"CPU": 2.0, "GPU": 1.0}, asked=2) == ()
    assert check(has={"CPU": 8.0, "GPU": 1.0}, threads_per_worker=16, gpu=True) == ()


def test_fewer_workers_than_asked_for_are_told_of() -> None:
    assert check(has={"CPU": 2.0}, asked=2, threads_per_worker=2) == (
        "1 worker and not 2: each takes 2 CPU of 2 CPU",
    )
    assert check(has={"CPU": 8.0, "GPU": 2.0}, asked=3, gpu=True) == (
        "2 workers and not 3: each takes 1 GPU of 2 GPU",
    )


@pytest.mark.parametrize(
    ("cells", "threads", "cores"),
    [
        ([make_cell()], 1, 1),
        ([make_cell()], 2, 2),
        ([needing(num_cpus=3.5)], 2, 4),
        ([needing(num_cpus=0.5)], 2, 1),
        ([make_cell(), needing(num_cpus=3)], 2, 3),
        ([needing(num_cpus=0)], 2, 1),
    ],
)
def test_a_workers_cores_are_its_threads_or_what_its_cells_need(
    cells: list[Cell], threads: int, cores: int
) -> None:
    settings = Settings(store="store", state="state", threads_per_worker=threads)
    assert cores_per_worker(cells, settings) == cores


@pytest.mark.parametrize(
    ("workers", "per_worker", "cores"),
    [
        (None, 1, 2),
        (None, 9, 2),
        (1, 2, 2),
        (2, 1, 2),
        (5, 1, 5),  # more workers than cores: the user's choice
        (2, 2, 2),  # but no cores that do not exist
        (1, 9, 2),
    ],
)
def test_ray_hands_out_the_cores_that_the_workers_take(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, per_worker: int, cores: int
) -> None:
    monkeypatch.setattr("stn_cluster.cluster.embedded_ray._cores", lambda: 2)
    assert _logical_cores(workers, per_worker) == cores
