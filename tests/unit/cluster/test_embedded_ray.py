"""Embedded Ray: the parts of Ray that it leaves out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ray._private import utils
from ray._private.node import Node

from stn_cluster.cluster.embedded_ray import absolute_python_path, minimal_ray

PROCESSES = ("start_api_server", "start_monitor", "start_log_monitor")


def test_the_processes_that_are_left_out_have_these_names_and_are_restored() -> None:
    before = [getattr(Node, name) for name in PROCESSES], utils.get_dashboard_dependency_error
    with minimal_ray():
        assert isinstance(utils.get_dashboard_dependency_error(), ImportError)
        assert all(getattr(Node, name)(None) is None for name in PROCESSES)
    after = [getattr(Node, name) for name in PROCESSES], utils.get_dashboard_dependency_error
    assert after == before


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
