"""Connections to a cluster: an address where none can be is refused at once."""

from __future__ import annotations

import socket

import pytest

from stn_cluster.cluster.connect import ray_cluster
from stn_cluster.cluster.ray_probe import check_cluster
from stn_cluster.errors import UserError


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.init", lambda **settings: pytest.fail("Ray was asked"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def refused(address: str) -> str:
    with pytest.raises(UserError) as caught:
        ray_cluster(address).__enter__()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("address", ["local", "ray://127.0.0.1:10001", "http://head:8265"])
def test_what_is_no_heads_address_is_refused_wherever_it_is_given(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would start a cluster of its own for `local`."""
    told = "HOST:PORT of the cluster's head, or auto"
    assert refused(address) == f"{address}: {told}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert refused("auto") == f"RAY_ADDRESS={address}: {told}"


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid", "a..b", "x" * 70])
def test_an_address_where_nothing_listens_is_named(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert refused(f"{host}:{port}").startswith(f"{host}:{port}: no Ray cluster to connect to")
    monkeypatch.setenv("RAY_ADDRESS", f"{host}:{port}")
    assert refused("auto").startswith(f"RAY_ADDRESS={host}:{port}: no Ray cluster")


def test_a_ray_of_the_users_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.shutdown", lambda: pytest.fail("it was shut down"))
    assert refused("auto").startswith("Ray runs in this process already")


def test_whatever_ray_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**settings: object) -> None:
        raise ImportError("no module named 'hook'")

    monkeypatch.setattr("ray.init", fail)
    assert refused("auto") == "auto: cannot use this Ray cluster: no module named 'hook'"


def test_a_server_that_is_no_ray_cluster_is_told_by_its_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stn_cluster.cluster.ray_probe.ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"^{address}: what listens there does not answer"):
            check_cluster(address)


def test_a_malformed_variable_of_ray_is_suspected_where_ray_crashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "soon")
    with pytest.raises(UserError, match=r"^Ray crashes .* RAY_worker_register_timeout_seconds"):
        check_cluster("auto")
