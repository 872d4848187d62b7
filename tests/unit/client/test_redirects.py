"""Redirects, which no client follows: one line, wherever they lead."""

from __future__ import annotations

import pytest
from support.receivers import UNREADABLE, receiver

from stn_cluster import Client
from stn_cluster.errors import UserError

IT = r": not stn-cluster: HTTP 302 \(redirects are not followed\)$"
LEADS = ["/elsewhere", "http://127.0.0.1:1/v1/jobs", *UNREADABLE]


@pytest.mark.parametrize("location", LEADS, ids=lambda location: repr(location[:20]))
def test_a_redirect_is_one_line_and_not_followed(location: str) -> None:
    with receiver() as server, Client(server.url.partition("/hook")[0], "token", 0.0) as client:
        server.status, server.location = 302, location
        for call in (client.jobs, lambda: client.retry("a"), lambda: next(client.watch("a"))):
            with pytest.raises(UserError, match=IT):
                call()
