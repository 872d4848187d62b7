"""Probe of a Ray cluster, before Ray is imported here.

Ray itself tries a head that does not let it in for minutes, and crashes without a word for a
malformed variable RAY_*; in a process of its own it may do either.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from stn_cluster.cluster.ray_errors import why, why_text
from stn_cluster.errors import UserError
from stn_cluster.private_files import close_file

REACH_SECONDS = 5.0  # timeout of a connection to the cluster's head
ANSWER_SECONDS = 30.0  # timeout of its answer, with Ray's import

_PROBE = """
import contextlib, sys
from ray._private.services import canonicalize_bootstrap_address
from ray._raylet import GcsClient

address = sys.argv[1]
if address == "auto":  # as ray.init does
    with contextlib.suppress(ImportError):
        from ray._private.authentication import authentication_token_setup as setup

        setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
GcsClient(address=canonicalize_bootstrap_address(address))
"""


def check_cluster(address: str) -> None:
    """Checks that there is a Ray cluster at an address, and that it lets this process in.

    Raises:
        UserError: there is none, it refuses, or does not answer; or the address cannot be one.
    """
    check_address(address)
    close_file(_token_file())  # whoever reads it can run code as the service's user
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE, _place(address)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{_named(address)}: what listens there does not answer as the head of a Ray cluster"
        ) from None
    if done.returncode < 0:
        names = ", ".join(sorted(name for name in os.environ if name.startswith("RAY_")))
        raise UserError(
            f"Ray crashes (signal {-done.returncode}); is one of these variables malformed? {names}"
        )
    if done.returncode:
        raise UserError(f"{_named(address)}: cannot use this Ray cluster: {why_text(done.stderr)}")


def check_address(address: str) -> None:
    """Refuses an address where no cluster can be, or nothing listens.

    Ray would take `local` as a request for a cluster of this process alone.

    Raises:
        UserError: it is no such address.
    """
    place = _place(address)
    if place == "local" or "://" in place:
        raise UserError(f"{_named(address)}: HOST:PORT of the cluster's head, or auto")
    host, colon, port = place.rpartition(":")
    host = host.strip("[]")  # IPv6
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(
            f"{_named(address)}: no Ray cluster to connect to; start one with `ray start --head` "
            f"({why(error)})"
        ) from error


def _token_file() -> Path:
    """Ray's file with the cluster's token."""
    given = os.environ.get("RAY_AUTH_TOKEN_PATH", "").strip()
    return Path(given) if given else Path.home() / ".ray" / "auth_token"


def unusable(address: str, error: Exception) -> UserError:
    """The error for a cluster that cannot be used."""
    return UserError(f"{_named(address)}: cannot use this Ray cluster: {why(error)}")


def _place(address: str) -> str:
    return (os.environ.get("RAY_ADDRESS") or address) if address == "auto" else address


def _named(address: str) -> str:
    """The address for people: where it comes from the environment, with the variable."""
    return address if _place(address) == address else f"RAY_ADDRESS={_place(address)}"
