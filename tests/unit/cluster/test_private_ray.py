"""Embedded Ray: the parts of Ray that it leaves out."""

from __future__ import annotations

from ray._private import utils
from ray._private.node import Node

from stn_cluster.cluster.private_ray import minimal_ray

PROCESSES = ("start_api_server", "start_monitor", "start_log_monitor")


def test_the_processes_that_are_left_out_have_these_names_and_are_restored() -> None:
    before = [getattr(Node, name) for name in PROCESSES], utils.get_dashboard_dependency_error
    with minimal_ray():
        assert isinstance(utils.get_dashboard_dependency_error(), ImportError)
        assert all(getattr(Node, name)(None) is None for name in PROCESSES)
    after = [getattr(Node, name) for name in PROCESSES], utils.get_dashboard_dependency_error
    assert after == before
