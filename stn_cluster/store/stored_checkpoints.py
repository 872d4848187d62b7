"""Checkpoints of attempts at cells: checkpoints/KEY/ATTEMPT/NAME."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cluster.store.files import Files


@dataclass(frozen=True)
class Checkpoints:
    """Checkpoints in a store: states of cells that are trained, and weights of those that were."""

    files: Files

    def has(self, key: str, attempt: str, name: str) -> bool:
        """Whether there is this checkpoint of an attempt."""
        return self.files.is_file(_path(key, attempt, name))

    def write(self, key: str, attempt: str, name: str, data: bytes) -> None:
        """Makes or replaces one of an attempt's checkpoints atomically."""
        self.files.write(_path(key, attempt, name), data)

    def read(self, key: str, attempt: str, name: str) -> bytes | None:
        """One of an attempt's checkpoints, or None."""
        if not self.has(key, attempt, name):
            return None
        return self.files.read(_path(key, attempt, name))

    def drop(self, key: str, attempt: str, name: str) -> None:
        """Removes one of an attempt's checkpoints, if it exists."""
        self.files.remove(_path(key, attempt, name))

    def of(self, key: str) -> list[tuple[str, str]]:
        """Checkpoints of a cell: attempt and name of each."""
        return [(attempt, name) for _, attempt, name in self._below(f"checkpoints/{key}")]

    def all(self) -> list[tuple[str, str, str]]:
        """Checkpoints of all cells: key, attempt and name of each."""
        return self._below("checkpoints")

    def _below(self, folder: str) -> list[tuple[str, str, str]]:
        names = [name for name in self.files.names(folder) if self.files.is_inside(name)]
        paths = [name.split("/")[1:] for name in names]
        return [(path[0], path[1], path[2]) for path in paths if len(path) == 3]


def _path(key: str, attempt: str, name: str) -> str:
    return f"checkpoints/{key}/{attempt}/{name}"
