"""Stalls: which cell of a pack hangs, how its attempts end, and what people are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.records import make_cell
from support.workers import HERE

from stn_cluster.cluster.leases import Lease
from stn_cluster.cluster.protocol import Stall
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.stalls import (
    NOTICE_SECONDS,
    StalledPack,
    duration,
    ends,
    limit_of,
    line,
    notice,
    seen,
)
from stn_cluster.queue.attempts import Attempt, ExitReason, utc_now

SETTINGS = Settings(store="store", state="state")


def make_leases(count: int, **fields: float) -> list[Lease]:
    cells = [make_cell(seed=n).model_copy(update=fields) for n in range(count)]
    return [
        Lease(Attempt(f"a{n}", cell, "j", count, HERE, utc_now()), "w", deadline=0.0)
        for n, cell in enumerate(cells)
    ]


def stalled(*leases: Lease, what: str = "builds its model") -> StalledPack:
    """A pack of which these cells' code runs, since 100.0."""
    keys = tuple(lease.attempt.cell.key for lease in leases)
    found = seen(Stall(30.0, what, keys), None, now=130.0)
    assert found is not None
    return found


def test_a_stall_that_goes_on_is_the_same_and_begins_once() -> None:
    first = seen(Stall(2.0, "is tested", ("k",)), None, now=102.0)
    assert first is not None
    assert first.since == 100.0
    again = seen(Stall(4.1, "is tested", ("k",)), first, now=104.0)  # clocks are not exact
    assert again is first
    for other in (Stall(2.0, "is tested", ("k",)), Stall(4.0, "is tested", ("l",))):
        found = seen(other, first, now=104.0)
        assert found is not None
        assert found is not first
    assert seen(None, first, now=105.0) is None


def test_the_limit_is_the_cells_own_or_the_settings() -> None:
    plain, hasty = make_leases(1), make_leases(3, no_progress_seconds=60.0)
    assert limit_of(stalled(), plain, SETTINGS) == SETTINGS.no_progress_seconds == 1800
    mixed = [*plain, *hasty[1:]]
    assert limit_of(stalled(plain[0]), mixed, SETTINGS) == 1800  # its mates' are not asked
    assert limit_of(stalled(hasty[1]), mixed, SETTINGS) == 60
    assert limit_of(stalled(), mixed, SETTINGS) == 60


def test_people_are_told_after_three_minutes_or_earlier_where_the_limit_is_short() -> None:
    assert notice(1800.0) == NOTICE_SECONDS == 180
    assert notice(7200.0) == NOTICE_SECONDS
    assert notice(20.0) == 2


def test_the_cell_whose_code_hangs_is_charged_and_its_mates_are_not() -> None:
    hangs, *mates = leases = make_leases(3)
    found = ends(stalled(hangs), leases, 1800.0)
    end = found[hangs.id]
    assert (end.reason, end.counts) == (ExitReason.HUNG, True)
    assert end.message == "no progress for 30 min while it builds its model"
    for mate in mates:
        end = found[mate.id]
        assert (end.reason, end.counts) == (ExitReason.INTERRUPTED, False)
        label = hangs.attempt.cell.label
        assert end.message == f"its worker was ended, as {label} made no progress for 30 min"


def test_of_cells_that_share_the_code_that_hangs_none_is_charged_yet() -> None:
    one, other, mate = leases = make_leases(3)
    found = ends(stalled(one, other), leases, 1800.0)
    for lease in (one, other):
        assert (found[lease.id].reason, found[lease.id].counts) == (ExitReason.HUNG, False)
    assert found[mate.id].reason is ExitReason.INTERRUPTED


def test_where_no_cells_code_runs_no_cell_has_hung() -> None:
    leases = make_leases(2)
    found = ends(stalled(what="waits for the store"), leases, 45.0)
    assert {end.reason for end in found.values()} == {ExitReason.INTERRUPTED}
    assert found["a0"].message == "its worker was ended, as it made no progress for 45 s"


def test_the_line_for_people_names_the_cell_what_it_does_where_and_what_follows() -> None:
    hangs, _ = leases = make_leases(2)
    pack = stalled(hangs)
    pack = replace(pack, at=pack.at.replace(hour=5, minute=3, second=9))
    assert line(pack, leases, HERE, 1800.0) == (
        f"no progress since 05:03:09 UTC: {hangs.attempt.cell.label}: it builds its model, on "
        "here, process 123; its worker is ended after 30 min without any"
    )


def test_a_line_names_few_of_many_cells() -> None:
    leases = make_leases(5)
    text = line(stalled(), leases, HERE, 1800.0)
    assert "seed0, CNN/none/R/seed1, CNN/none/R/seed2, 2 more: it" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1800.0, "30 min"), (45.0, "45 s"), (0.5, "0.5 s"), (150.0, "2.5 min")]
)
def test_times_are_told_as_people_set_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
