"""How often a client may ask."""

from __future__ import annotations

from stn_cluster.server import rate_limit
from stn_cluster.server.rate_limit import RateLimit


def test_a_burst_then_a_rate_for_each_client() -> None:
    now = [0.0]
    limit = RateLimit(2, 3, clock=lambda: now[0])
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait("b") == 0
    now[0] = 0.5
    assert limit.wait("a") == 0
    assert limit.wait("a") == 0.5
    now[0] = 100
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_many_clients_are_not_remembered_for_ever() -> None:
    limit = RateLimit(1, 1)
    for number in range(rate_limit.MOST_CLIENTS + 10):
        limit.wait(str(number))
    assert len(limit._left) == rate_limit.MOST_CLIENTS
