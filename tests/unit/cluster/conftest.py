"""Fixtures of the unit tests of the cluster."""

from __future__ import annotations

import pytest

from stn_cluster.cluster import result_writer, scheduler
from stn_cluster.cluster.settings import Settings
from stn_cluster.queue import database


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of Ray fails, where it would start a Ray of its own."""
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler looks often, and failed writes are tried again soon."""
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(Settings, "scan_seconds", 0.02)
    monkeypatch.setattr(result_writer, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(result_writer, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.05)
