"""Nodes that come and go while jobs run: real nodes of Ray, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from support.failures import PATIENCE, counts, exit_reason, exit_reasons, parts, running, the_end
from support.services import PLUGINS, make_job, serve, wait_until

from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.private_ray import minimal_ray
from stn_cluster.queue.jobs import CellState

SMALL: dict[str, Any] = {"object_store_memory": 100 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Ray cluster whose head has no CPU cores."""
    head = {"num_cpus": 0, "_system_config": {"health_check_period_ms": 1000}, **SMALL}
    with minimal_ray():  # its processes would make every node's start seconds longer
        nodes = Cluster(initialize_head=True, head_node_args=head)
        ray.init(
            address=nodes.address,
            log_to_driver=False,
            logging_level="error",
            runtime_env={"env_vars": {"PYTHONPATH": str(PLUGINS)}},
        )
        yield nodes
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="module")
def client(cluster: Cluster, folder: Path) -> Iterator[CoordinatorClient]:
    """A service that is stopped at the end: then nobody holds anything any more."""
    started = serve(folder, workers=None, idle_seconds=2.0)
    yield started
    started.stop(60)
    wait_until(lambda: free() == cluster_cores(), PATIENCE)


def free() -> float:
    return ray.available_resources().get("CPU", 0.0)


def cluster_cores() -> float:
    return ray.cluster_resources().get("CPU", 0.0)


def test_a_node_that_is_added_is_used_and_the_cells_of_a_lost_one_run_again_uncharged(
    cluster: Cluster, client: CoordinatorClient, folder: Path
) -> None:
    old = cluster.add_node(num_cpus=1, **SMALL)
    job = make_job(
        "undisturbed",
        models=["Slow"],
        distortions=["R", "E"],
        plugins=["breaking_plugin"],
        recipe={"name": "smoke", "iterations": 80},
    )
    client.submit(job)
    the_end(client, "undisturbed")
    client.submit(replace(job, job_id="disturbed", force=True))
    wait_until(lambda: running(client, "disturbed", step=20), PATIENCE)
    [lost] = running(client, "disturbed")
    assert lost.worker.node == old.node_id
    new = cluster.add_node(num_cpus=1, **SMALL)
    cluster.remove_node(old, allow_graceful=False)
    assert the_end(client, "disturbed").state is CellState.SUCCEEDED

    before, first, second = client.attempts(lost.cell.key)
    assert (exit_reason(before), first.id) == ("succeeded", lost.id)
    assert (exit_reason(first), counts(first)) == ("node lost", False)
    assert first.end is not None
    assert first.end.at is not None
    assert second.started_at - first.end.at < timedelta(seconds=60)
    assert second.worker.node == new.node_id
    for cell in job.cells:
        attempts = [a.id for a in client.attempts(cell.key) if exit_reason(a) == "succeeded"]
        one, other = (parts(folder / "store", attempt) for attempt in attempts)
        assert one == other


def test_cells_that_need_what_no_node_has_wait_for_it_say_so_and_run_when_it_comes(
    cluster: Cluster, client: CoordinatorClient
) -> None:
    job = make_job("big", models=["FCN", "CNN"], distortions=["E"], needs={"resources": {"big": 1}})
    client.submit(job)
    waits = ("2 cells wait for a node with 1 CPU, 1 big",)
    wait_until(lambda: client.status("big").waiting == waits, PATIENCE)
    client.submit(make_job("small", models=["CNN"], distortions=["P"]))
    assert the_end(client, "small").state is CellState.SUCCEEDED  # they are in nobody's way
    assert client.status("big").counts == {CellState.QUEUED: 2}

    node = cluster.add_node(num_cpus=1, resources={"big": 1}, **SMALL)
    assert the_end(client, "big").state is CellState.SUCCEEDED
    assert client.status("big").waiting == ()
    nodes = {client.attempts(cell.key)[0].worker.node for cell in job.cells}
    assert nodes == {node.node_id}


def test_an_accelerator_that_nobody_has_is_told(client: CoordinatorClient) -> None:
    job = make_job("h100", models=["FCN"], distortions=["R"], needs={"accelerator_type": "H100"})
    client.submit(job)
    waits = ("1 cell waits for a node with 1 GPU, accelerator_type:H100",)
    wait_until(lambda: client.status("h100").waiting == waits, PATIENCE)
    client.cancel("h100")
    assert client.status("h100").state is CellState.CANCELLED
    assert exit_reasons(client, job.cells[0].key) == []


def test_idle_workers_are_let_go(cluster: Cluster, client: CoordinatorClient) -> None:
    client.submit(make_job("last", models=["CNN"], distortions=["R"]))
    the_end(client, "last")
    wait_until(lambda: client.status("last").workers == 0, PATIENCE)
    wait_until(lambda: free() == cluster_cores(), PATIENCE)
