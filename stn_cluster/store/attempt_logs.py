"""Logs of attempts at cells and evaluations: logs/KEY/ATTEMPT.log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from stn_cluster.store.files import Files


@dataclass(frozen=True)
class AttemptLogs:
    """Logs in a store."""

    files: Files

    def append(self, key: str, attempt: str, text: str) -> None:
        """Appends to an attempt's log."""
        self.files.append(_path(key, attempt), text.encode())

    def read(self, key: str, attempt: str) -> str | None:
        """Log of an attempt, or None."""
        name = _path(key, attempt)
        if not self.files.is_file(name):
            return None
        return self.files.read(name).decode("utf-8", "replace")

    def attempts(self, key: str) -> list[tuple[int, str]]:
        """Logs of a cell: the time of the last write (nanoseconds), and the attempt."""
        logs = self.files.dated(f"logs/{key}")
        return [
            (written, PurePosixPath(name).stem) for name, written in logs if name.endswith(".log")
        ]


def _path(key: str, attempt: str) -> str:
    return f"logs/{key}/{attempt}.log"
