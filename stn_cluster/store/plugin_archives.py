"""Archives of the plug-ins that submitted cells need: plugins/DIGEST.zip, beside a description."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cluster.store.files import Files


@dataclass(frozen=True)
class PluginArchives:
    """Plug-ins in a store, by the digest of their files."""

    files: Files

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.files.names("plugins", ".json"))

    def has(self, digest: str) -> bool:
        """Whether the plug-in with this digest is here."""
        return self.files.is_file(f"plugins/{digest}.zip")

    def write(self, digest: str, packed: bytes, description: bytes) -> None:
        """Writes the archive of a plug-in, by whoever submits it."""
        self.files.write(f"plugins/{digest}.json", description)
        self.files.write(f"plugins/{digest}.zip", packed)

    def read(self, digest: str) -> bytes | None:
        """Archive of the plug-in with this digest, or None."""
        return self.files.read(f"plugins/{digest}.zip") if self.has(digest) else None

    def describe(self, digest: str) -> bytes | None:
        """Description of the plug-in with this digest: its module and files, or None."""
        name = f"plugins/{digest}.json"
        return self.files.read(name) if self.files.is_file(name) else None
