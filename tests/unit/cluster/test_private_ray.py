"""Private Ray: what it leaves out, and what it does not take from the environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ray._private import services, utils
from ray._private.node import Node

from stn_cluster.cluster.private_ray import (
    absolute_python_path,
    minimal_ray,
    own_process_group,
    private_environment,
)
from stn_cluster.errors import UserError

PROCESSES = ("start_api_server", "start_monitor", "start_log_monitor")


def test_the_processes_that_are_left_out_have_these_names_and_are_restored() -> None:
    before = [getattr(Node, name) for name in PROCESSES], utils.get_dashboard_dependency_error
    with minimal_ray():
        assert isinstance(utils.get_dashboard_dependency_error(), ImportError)
        assert all(getattr(Node, name)(None) is None for name in PROCESSES)
    after = [getattr(Node, name) for name in PROCESSES], utils.get_dashboard_dependency_error
    assert after == before


def test_ray_takes_nothing_from_the_environment_but_the_memory_it_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = {
        "RAY_ADDRESS": "there:1",
        "RAY_AUTH_TOKEN": "secret",
        "RAY_worker_register_timeout_seconds": "abc",
        "RAY_memory_usage_threshold": "0.9",
        "OTHER": "kept",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with private_environment():
        rays = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        assert set(rays) == {"RAY_AUTH_TOKEN", "RAY_memory_usage_threshold"}
        assert len(rays["RAY_AUTH_TOKEN"]) == 64
        assert rays["RAY_memory_usage_threshold"] == "0.9"
        assert os.environ["OTHER"] == "kept"
        os.environ["RAY_AUTH_MODE"] = "token"  # as Ray does
    assert dict(os.environ) == before


def test_a_memory_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "much")
    with pytest.raises(UserError, match=r"^RAY_memory_usage_threshold: a number, not 'much'"):
        private_environment().__enter__()


def test_rays_processes_are_started_in_groups_of_their_own() -> None:
    def group(command: str) -> int:
        process = services.ConsolePopen(["sh", "-c", command], stdout=subprocess.PIPE)
        return int(process.communicate()[0])

    show = "ps -o pgid= -p $$"
    assert group(show) == os.getpgrp()
    with own_process_group():
        assert group(show) != os.getpgrp()
    assert group(show) == os.getpgrp()


def test_a_relative_python_path_means_the_same_folders_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = os.pathsep.join(["lib", "/usr/lib", ""])
    monkeypatch.setenv("PYTHONPATH", given)
    with absolute_python_path():
        folders = os.environ["PYTHONPATH"].split(os.pathsep)
    assert folders == [str(tmp_path / "lib"), "/usr/lib", str(tmp_path)]
    assert os.environ["PYTHONPATH"] == given
