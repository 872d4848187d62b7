"""Tokens of services on this machine, which clients of the same user find by themselves.

A service notes the folder of its state, where its token is, under its host and port. Whoever else
listens there gets nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import httpx

from stn_cluster.client.listeners import only_we_listen
from stn_cluster.private_files import write_private

TOKEN_FILE = "token"  # in a service's state
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def note_service(host: str, port: int, state: Path) -> Path:
    """Notes where the state of a service is, for clients of the same user; returns the note."""
    note = _notes() / f"{host}-{port}"
    write_private(note, f"{state}\n")
    return note


class OwnToken(httpx.Auth):
    """Gives each request the token of this user's own service, if that is whom it goes to.

    It is looked for each time: a service may have ended, and somebody else may listen instead.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds the token, if there is one."""
        if token := find_token(self._host, self._port):
            request.headers["Authorization"] = f"Bearer {token}"
        yield request


def find_token(host: str, port: int) -> str | None:
    """Token of a service of this user on this machine; None if there is none, or if others listen
    there."""
    if host not in _LOOPBACK or not only_we_listen(host, port):
        return None
    for name in dict.fromkeys([host, *_LOOPBACK]):
        note = _notes() / f"{name}-{port}"
        with suppress(OSError, UnicodeError):
            if _is_ours_alone(note):
                token = Path(note.read_text(encoding="utf-8").strip()) / TOKEN_FILE
                if _is_ours_alone(token):
                    return token.read_text(encoding="utf-8").strip() or None
    return None


def _notes() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".local" / "state") / "stn-cluster"


def _is_ours_alone(path: Path) -> bool:
    """Whether a file is this user's, and nobody else's."""
    found = path.lstat()
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_uid == os.geteuid()
        and not stat.S_IMODE(found.st_mode) & 0o077
    )
