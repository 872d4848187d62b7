"""A worker node that cannot be reached for a while: real nodes of Ray in network namespaces."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pandas as pd
import pytest
from support.namespaces import CUTS, NEEDS_NAMESPACES, Machine, machines
from support.ray_head import BIN, Head, ray_head, ray_node
from support.servers import TOKEN, Server
from support.services import PLUGINS, wait_until

from stn_cluster import Client

pytestmark = [NEEDS_NAMESPACES, pytest.mark.chaos, pytest.mark.timeout(900)]
SHORT, LONG = 25.0, 90.0  # seconds; Ray gives a node up after 57, and a lease has 60
SOON = 15.0  # seconds within which a node out of reach is told
CALM = 10.0  # after a partition: Ray may have given the node up, which then ends
PATIENCE = 180.0
MODULES = {"PYTHONPATH": str(PLUGINS)}


class WithPlugins(Server):
    """A server whose cells sleep at every step."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | MODULES


@dataclass
class Cluster:
    """A head with a service, and a worker node on another machine."""

    head: Head
    head_machine: Machine
    node: Machine
    server: Server
    client: Client

    def status(self, job: str) -> str:
        """The command's output."""
        asked = [str(BIN / "stn-cluster"), "status", job, f"--server={self.server.url}"]
        environment = os.environ | {"STN_CLUSTER_TOKEN": TOKEN}
        return subprocess.run(
            asked, env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def is_away(self, job: str) -> bool:
        """Whether the service says that a node cannot be reached."""
        return any("cannot be reached" in line for line in self.client.status(job).waiting)

    def wait_until_it_goes_on(self, job: str) -> None:
        """Waits until each cell that is in training has got further than it is now."""
        before = {cell.cell.key: cell.step for cell in self.client.cells(job)}

        def goes_on() -> bool:
            status = self.client.status(job)
            assert not status.ended, f"{job} has ended before it was cut off: {status}"
            cells = [x for x in self.client.cells(job) if x.state.value == "running"]
            return bool(cells) and all(x.step and x.step != before[x.cell.key] for x in cells)

        try:
            wait_until(goes_on, PATIENCE)
        except AssertionError as error:
            status = self.client.status(job)
            raise AssertionError(f"{status}, {status.waiting}, {status.trouble}") from error

    @contextmanager
    def kept_node(self) -> Iterator[None]:
        """The node's Ray within the block, started again whenever it ends, as a supervisor does."""
        ended = threading.Event()

        def keep() -> None:
            with self.head_machine.here():
                while not ended.is_set():
                    with (
                        suppress(AssertionError),  # as it does not start while it is cut off
                        ray_node(
                            self.head, self.node.address, 2, self.node.command(), **MODULES
                        ) as process,
                    ):
                        while not ended.wait(0.5) and process.poll() is None:
                            pass

        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            yield
        finally:
            self.node.mend()
            ended.set()
            keeper.join()

    def said_within(self, seconds: float, job: str) -> set[str]:
        """What `status` says within some seconds that a job waits for."""
        deadline, said = time.monotonic() + seconds, set[str]()
        while time.monotonic() < deadline:
            said |= set(self.client.status(job).waiting)
            time.sleep(0.5)
        return said


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        ours, node = stack.enter_context(machines(2))
        stack.enter_context(ours.here())
        head = stack.enter_context(ray_head(0, host=ours.address))
        server = WithPlugins(head, tmp_path_factory.mktemp("partition"), 8267)
        server.start("--plugins=breaking_plugin")
        yield Cluster(head, ours, node, server, stack.enter_context(Client(server.url, TOKEN)))
        assert server.end(signal.SIGTERM) == 0


def grid(seeds: int) -> dict[str, object]:
    """Cells of about 20 s each."""
    return {
        "models": ["Slow"],
        "distortions": ["R", "E"],
        "seeds": list(range(seeds)),
        "recipe": {"name": "smoke", "iterations": 100},
    }


def check_none_suffered(cluster: Cluster, job: str) -> list[str | None]:
    """At its end, all cells of a job are there, once an attempt that succeeded, and no attempt is
    held against them; returns how the attempts ended."""
    *_, last = cluster.client.watch(job)
    assert last.ended
    cells = list(cluster.client.cells(job))
    assert {cell.state.value for cell in cells} == {"succeeded"}
    attempts = [x for cell in cells for x in cluster.client.attempts(cell.cell.key)]
    assert [x for x in attempts if x.charged] == []
    rows = pd.read_parquet(cluster.server.store / "cells")
    rows = rows[rows["key"].isin([cell.cell.key for cell in cells])]
    done = [x.attempt for x in attempts if x.ending == "succeeded"]
    assert sorted(rows["attempt"]) == sorted(done)
    of_job = [x for x in attempts if x.job_id == job]
    assert sum(x.ending == "succeeded" for x in of_job) == len(cells)
    return [x.ending for x in of_job]


def test_a_partition_of_25_seconds_is_told_and_held_against_no_cell(cluster: Cluster) -> None:
    job = "short"
    with cluster.kept_node():
        cluster.client.submit(grid(10), job_id=job)
        for number in range(5):
            how = CUTS[number % 2]
            time.sleep(CALM)
            cluster.wait_until_it_goes_on(job)
            began = time.monotonic()
            cluster.node.cut(how)
            wait_until(lambda: cluster.is_away(job), SOON)
            told = time.monotonic() - began
            assert "cannot be reached for " in cluster.status(job)
            time.sleep(began + SHORT - time.monotonic())
            cluster.node.mend()
            wait_until(lambda: not cluster.is_away(job), SOON)
            back = time.monotonic() - began - SHORT
            print(f"{how}: told after {told:.1f} s, and back after {back:.1f} s")
        check_none_suffered(cluster, job)


@pytest.mark.parametrize("how", CUTS)
def test_a_node_that_is_given_up_costs_no_cell_an_attempt(cluster: Cluster, how: str) -> None:
    job = f"long-{how}"
    with cluster.kept_node():
        cluster.client.submit({**grid(2), "name": how}, job_id=job, force=True)
        cluster.wait_until_it_goes_on(job)
        cluster.node.cut(how)
        said = cluster.said_within(LONG, job)
        assert any("cannot be reached for " in line for line in said)
        assert "4 cells wait for a node with 1 CPU" in said  # once Ray has given it up
        cluster.node.mend()
        check_none_suffered(cluster, job)


def test_a_node_that_comes_back_after_the_lease_gives_no_result_twice(cluster: Cluster) -> None:
    """Ray has not given it up: its old workers are there still, and train on until they hear."""
    assert cluster.server.end(signal.SIGTERM) == 0
    cluster.server.start("--plugins=breaking_plugin", "--lease-seconds=15")
    with cluster.kept_node():
        cluster.client.submit({**grid(2), "name": "lease"}, job_id="lease", force=True)
        cluster.wait_until_it_goes_on("lease")
        cluster.node.cut("dropped")
        said = cluster.said_within(40, "lease")
        assert any(line.startswith("the node ") for line in said)  # its cells wait for another
        cluster.node.mend()
        endings = check_none_suffered(cluster, "lease")
        assert endings.count("node lost") == 2
