"""Digests of data files, computed once: kept with the size and the times that a file had then."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from stn_cluster.errors import UserError

DIGITS = 16  # hex digits of a digest
FOLDER = ".stn-cluster"  # under the data root: what is derived from its files
# A file may change without a new time within the clock's resolution of its file system.
SETTLED_SECONDS = 2.0


def derived_folder(root: Path) -> Path:
    """The folder of what is derived from a data root's files: in it, or the user's own cache."""
    beside = root / FOLDER
    with contextlib.suppress(OSError):
        beside.mkdir(exist_ok=True)
        if os.access(beside, os.W_OK | os.X_OK):
            return beside
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:DIGITS]
    return cache / "stn-cluster" / place


def digest_files(name: str, root: Path, files: Sequence[Path]) -> str:
    """Digest of files: of their contents, and of where each is under the data root.

    Args:
        name: of the data set that they are.
        root: the data root.
        files: each is a file.

    Raises:
        UserError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for place, digest in _digests(name, root, files).items():
        whole.update(f"{place}\0{digest}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()[:DIGITS]


def digest_file(root: Path, file: Path) -> str:
    """Digest of a file's contents, wherever under the data root it is.

    Raises:
        UserError: it cannot be read.
    """
    place = hashlib.sha256(_place(root, file).encode("utf-8", "surrogateescape")).hexdigest()
    [digest] = _digests(f"file-{place[:DIGITS]}", root, [file]).values()
    return digest[:DIGITS]


def _digests(name: str, root: Path, files: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file, by its place under the data root, in the places' order."""
    kept_in = derived_folder(root) / f"{name}.digests.json"
    kept, present = _read(kept_in), {}
    for place, file in sorted((_place(root, file), file) for file in files):
        try:
            now = _stamp(file)
            known = kept.get(place)
            digest = known[-1] if known and known[:-1] == now else _digest(file)
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror or error}") from error
        present[place] = [*now, digest]
    if present != kept:
        _write(kept_in, present)
    return {place: str(entry[-1]) for place, entry in present.items()}


def _place(root: Path, file: Path) -> str:
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def _stamp(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read(path: Path) -> dict[str, list[int | str]]:
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):  # none yet, or damaged: they are computed anew
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(path: Path, present: dict[str, list[int | str]]) -> None:
    """Keeps the digests of files that have not changed just now; where nothing can be written,
    they are computed again each time."""
    settled = (time.time() - SETTLED_SECONDS) * 1e9
    kept = {place: entry for place, entry in present.items() if max(map(int, entry[1:3])) < settled}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
            json.dump(kept, draft)
        os.replace(draft.name, path)  # noqa: PTH105
