"""Machines that are network namespaces of this one, with a switch between them that can be cut."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
CUTS = ("dropped", "down")


@dataclass(frozen=True)
class Machine:
    """A network namespace with one address beside its own loopback."""

    name: str  # of the namespace
    address: str
    switch: str  # namespace of the switch
    port: str  # the switch's end of its cable

    def command(self, *arguments: object) -> list[str]:
        """A command that runs on it."""
        return ["ip", "netns", "exec", self.name, *map(str, arguments)]

    @contextmanager
    def here(self) -> Iterator[None]:
        """Within the block, the sockets and processes that this thread makes are on it."""
        with Path("/proc/thread-self/ns/net").open() as before:
            try:
                with Path("/run/netns", self.name).open() as namespace:
                    _enter(namespace.fileno())
                yield
            finally:
                _enter(before.fileno())

    def cut(self, how: str) -> None:
        """Cuts its cable: 'down' as if it were pulled, which it sees; or 'dropped': what either
        side sends is lost, and neither is told."""
        if how == "down":
            _ip("-n", self.switch, "link", "set", self.port, "down")
        else:
            _ip("-n", self.switch, "link", "set", self.port, "nomaster")

    def mend(self) -> None:
        """Mends what `cut` did."""
        _ip("-n", self.switch, "link", "set", self.port, "master", "switch")
        _ip("-n", self.switch, "link", "set", self.port, "up")


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """Makes machines that reach each other, and nothing else, within the block."""
    mark = secrets.token_hex(3)
    switch = f"stn-{mark}-switch"
    with ExitStack() as stack:
        _add(stack, switch)
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        found = []
        for number in range(1, count + 1):
            one = Machine(f"stn-{mark}-{number}", f"10.213.0.{number}", switch, f"port{number}")
            _add(stack, one.name)
            _ip(
                *("-n", one.name, "link", "add", "eth0", "type", "veth"),
                *("peer", "name", one.port, "netns", switch),
            )
            _ip("-n", one.name, "address", "add", f"{one.address}/24", "dev", "eth0")
            _ip("-n", one.name, "link", "set", "lo", "up")
            _ip("-n", one.name, "link", "set", "eth0", "up")
            one.mend()
            found.append(one)
        yield found


@cache
def why_not() -> str:
    """Why there can be no such machines here; empty if there can."""
    if not shutil.which("ip"):
        return "no `ip` (iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with machines(1):
            return ""
    except subprocess.CalledProcessError as error:
        return f"no network namespaces: {error.stderr.strip()}"


def _add(stack: ExitStack, name: str) -> None:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _enter(namespace: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(namespace, _NEW_NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


NEEDS_NAMESPACES = pytest.mark.skipif(bool(why_not()), reason=why_not() or "there are some")
