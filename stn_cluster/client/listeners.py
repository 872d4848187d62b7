"""Owners of what listens on a port of this machine, as Linux says."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENS = "0A"
_WORD = 8  # hex digits of a 32-bit word of an address


def only_we_listen(host: str, port: int) -> bool:
    """Whether this user alone listens where a connection to a port of this machine may end.

    Another user can listen on ::1 beside our own 127.0.0.1, or on a port that our server has left.
    True where the system does not say, as on macOS.

    Args:
        host: 127.0.0.1, ::1 or localhost.
        port: the port.
    """
    if not _TABLES[0].exists():
        return True
    users: dict[int, set[int]] = {4: set(), 6: set()}
    for address, listening, user in _listeners():
        if listening == port and (address.is_loopback or address.is_unspecified):
            users[address.version].add(user)
    # One of IPv6 takes connections of IPv4, too, where none of IPv4 does.
    old = users[4] or users[6]
    found = {"127.0.0.1": old, "::1": users[6]}.get(host, users[4] | users[6])
    return found == {os.geteuid()}


def _listeners() -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int, int]]:
    """Address, port and user of each socket that listens."""
    for table in _TABLES:
        if not table.exists():  # without IPv6
            continue
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state, _, _, _, user, *_ = line.split()
            if state == _LISTENS:
                address, _, port = local.partition(":")
                yield _decoded(address), int(port, 16), int(user)


def _decoded(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    words = [text[at : at + _WORD] for at in range(0, len(text), _WORD)]
    packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
