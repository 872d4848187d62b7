"""Ray's records of how its processes ended: Ray's words, and the names of what is read."""

from __future__ import annotations

import pytest
from ray._private.state import GlobalState
from ray.core.generated import common_pb2, gcs_pb2

from stn_cluster.cluster.ray_exits import RayExit, _described, exit_of

KILLED = (
    "2 worker(s) were killed due to the node running low on memory. Memory on the node (IP: "
    "192.0.2.2, ID: 14b2) was 6.09GB used / 23.54GB limit (0.258868)\nOOM kill reason: Memory usage"
)


@pytest.mark.parametrize(
    ("for_memory", "detail", "text"),
    [
        (
            True,
            KILLED,
            "Ray's memory monitor killed it, as memory was short (6.09GB used / 23.54GB)",
        ),
        (True, "in other words", "Ray's memory monitor killed it, as memory was short"),
        (
            False,
            "Worker exits\n with a connection error code 2. Some common causes include: (1) many",
            "its worker process has died: Worker exits with a connection error code 2.",
        ),
    ],
)
def test_an_end_is_one_line_without_rays_advice(for_memory: bool, detail: str, text: str) -> None:
    assert _described(for_memory, detail) == RayExit(for_memory, text)


def test_what_is_read_of_rays_tables_has_these_names() -> None:
    assert common_pb2.WorkerExitType.NODE_OUT_OF_MEMORY
    fields = {field.name for field in gcs_pb2.WorkerTableData.DESCRIPTOR.fields}
    assert {"pid", "is_alive", "exit_type", "exit_detail", "worker_address"} <= fields
    assert GlobalState._connect_and_get_accessor


def test_without_a_ray_nobody_knows() -> None:
    assert exit_of(1) is None
