"""Targets that are told of ended jobs and failed cells: `serve --notify` and `--exec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from stn_cluster.server.notify_command import NotifyCommand
from stn_cluster.server.notify_url import SECRET_VARIABLE, NotifyUrl


class Target(Protocol):
    """A URL or a command that is told."""

    @property
    def digest(self) -> str:
        """Its name in the queue."""

    @property
    def name(self) -> str:
        """Its name for logs."""

    async def deliver(self, body: bytes) -> str | None:
        """Delivers a notification; returns why that has failed, or None."""


def make_targets(
    urls: Sequence[str], commands: Sequence[str], environment: Mapping[str, str]
) -> tuple[Target, ...]:
    """Checks who is to be told, each once.

    Raises:
        UserError: a URL or a command cannot be used.
    """
    secret = environment.get(SECRET_VARIABLE, "").strip() or None
    found: list[Target] = [NotifyUrl.of(url, secret) for url in urls]
    found += [NotifyCommand.of(command) for command in commands]
    return tuple({target.digest: target for target in found}.values())
