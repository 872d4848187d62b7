"""Memory deaths: an actor that is killed whenever it starts is not waited for."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from stn_cluster.cluster import memory_deaths as module
from stn_cluster.cluster.memory_deaths import MAX_DEATHS, WINDOW_SECONDS, MemoryDeaths
from stn_cluster.errors import ServiceError


@dataclass
class Records:
    """What Ray's records say."""

    now: float = 1000.0
    restarts: int = 5  # of earlier times
    kills: int = 0


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Records:
    made = Records()
    monkeypatch.setattr(module.time, "time", lambda: made.now)
    monkeypatch.setattr(module, "restarts", lambda actor: made.restarts)
    monkeypatch.setattr(module, "kills_for_memory", lambda since: made.kills)
    return made


def die(deaths: MemoryDeaths, records: Records, every: float, kills: int) -> None:
    """Lets the actor die once more, and looks."""
    records.now += every
    records.restarts += 1
    records.kills += kills
    deaths.check()


def test_three_deaths_within_a_minute_for_want_of_memory_are_enough(records: Records) -> None:
    deaths = MemoryDeaths("coordinator")
    deaths.check()
    for _ in range(MAX_DEATHS - 1):
        die(deaths, records, every=2.0, kills=1)
    with pytest.raises(ServiceError, match=r"^memory is short: .* 3 times within 6 s"):
        die(deaths, records, every=2.0, kills=1)


def test_deaths_with_other_causes_or_now_and_then_are_waited_out(records: Records) -> None:
    deaths = MemoryDeaths("coordinator")
    deaths.check()
    for _ in range(2 * MAX_DEATHS):
        die(deaths, records, every=2.0, kills=0)
    for _ in range(2 * MAX_DEATHS):
        die(deaths, records, every=WINDOW_SECONDS / 2 + 1, kills=1)


def test_rays_records_are_not_read_at_every_turn_of_a_loop(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    monkeypatch.setattr(module, "restarts", lambda actor: looks.append(actor) or 0)
    deaths = MemoryDeaths("coordinator")
    for _ in range(10):
        records.now += 0.2
        deaths.check()
    assert len(looks) == 2
