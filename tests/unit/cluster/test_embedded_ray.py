"""What of Ray an embedded one does without."""

from __future__ import annotations

from ray._private import utils
from ray._private.node import Node

from stn_cluster.cluster.embedded_ray import only_what_trains

PROCESSES = ("start_api_server", "start_monitor", "start_log_monitor")


def test_this_ray_knows_by_these_names_what_is_left_out_and_has_it_back_afterwards() -> None:
    before = [getattr(Node, name) for name in PROCESSES], utils.get_dashboard_dependency_error
    with only_what_trains():
        assert isinstance(utils.get_dashboard_dependency_error(), ImportError)
        assert all(getattr(Node, name)(None) is None for name in PROCESSES)
    after = [getattr(Node, name) for name in PROCESSES], utils.get_dashboard_dependency_error
    assert after == before
