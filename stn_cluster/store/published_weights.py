"""Weights of cells that are published with their store: weights/KEY.safetensors."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cluster.store.files import Files

_END = ".safetensors"


@dataclass(frozen=True)
class PublishedWeights:
    """Published weights in a store, by the cell's key."""

    files: Files

    def has(self, key: str) -> bool:
        """Whether there are published weights of a cell."""
        return self.files.is_file(f"weights/{key}{_END}")

    def read(self, key: str) -> bytes | None:
        """Published weights of a cell, as safetensors, or None."""
        return self.files.read(f"weights/{key}{_END}") if self.has(key) else None

    def keys(self) -> set[str]:
        """Keys of the cells with published weights."""
        names = self.files.names("weights", _END)
        return {name.removeprefix("weights/").removesuffix(_END) for name in names}
