"""Bundles: what a plug-in brings, as one file that travels through the store to the workers."""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from pydantic import BaseModel, Field, ValidationError

from stn_cluster.errors import UserError
from stn_cluster.registry.import_paths import find_unit
from stn_cluster.registry.plugin_files import brought_by, digest_of
from stn_cluster.registry.plugins import Plugin, load_plugins, load_unpacked, loaded_modules

UNUSED_SECONDS = 7 * 86400.0  # after which an unpacked bundle is removed from a machine
_ABOUT = "plugin.json"
_FILES = "files/"


class _File(BaseModel):
    place: str = Field(alias="from")
    sha256: str


class _Description(BaseModel):
    module: str
    files: dict[str, _File] = Field(min_length=1)


def pack(plugin: Plugin) -> tuple[bytes, bytes]:
    """Packs a plug-in's files as they were when it was imported.

    Returns:
        A ZIP file, and its description in JSON: module, distribution, and for each file the
        SHA-256 and the place it came from.

    Raises:
        UserError: a file has changed since.
    """
    contents = plugin.contents()
    about = {
        "module": plugin.module,
        "distribution": plugin.brought.distribution,
        "files": {
            name: {
                "from": str(plugin.brought.files[name].absolute()),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in contents.items()
        },
    }
    description = json.dumps(about, indent=1).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_ABOUT, description)
        for name, content in contents.items():
            info = zipfile.ZipInfo(_FILES + name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (plugin.brought.files[name].stat().st_mode & 0o777) << 16
            archive.writestr(info, content)
    return packed.getvalue(), description


def changed_files(description: bytes) -> list[str]:
    """Files of a packed plug-in that are other ones now on this machine, where it came from: with
    other content, removed, or new.

    Nothing is known, and none has changed, where none of them is, as on another machine.

    Raises:
        UserError: it is not the description of a plug-in.
    """
    try:
        about = _Description.model_validate_json(description)
    except ValidationError:
        raise UserError("not the description of a plug-in") from None
    present = {name: _sha256(Path(file.place)) for name, file in about.files.items()}
    if not any(present.values()):
        return []
    changed = [name for name, file in about.files.items() if present[name] != file.sha256]
    return changed or _new_files(about.module, about.files)


def _sha256(path: Path) -> str | None:
    """Digest of a file's content; None if there is no such file, whatever else is there."""
    try:
        if not path.is_file():  # a description from elsewhere may name a pipe, which never ends
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def _new_files(module: str, files: Mapping[str, _File]) -> list[str]:
    """Files that a plug-in would bring now and has not, as far as its sources tell."""
    name = next(iter(files))  # of its own module, or in its own package
    above = Path(files[name].place).parents
    if name.count("/") >= len(above):
        return []
    root = above[name.count("/")]
    try:
        unit = find_unit(module, [root])
        found = brought_by(unit, [root]).files if unit else {}
    except UserError:  # such as too many files
        return []
    return [name for name, path in found.items() if name not in files and root in path.parents]


class UsesPlugins(Protocol):
    """A cell, or an evaluation."""

    @property
    def plugins(self) -> tuple[str, ...]:
        """See `Cell.plugins`."""

    @property
    def digests(self) -> set[str]:
        """See `Cell.digests`."""


def load_submitted(
    cell: UsesPlugins, fetch: Callable[[str], bytes | None], keep: Collection[str] = ()
) -> set[str]:
    """Imports a cell's plug-ins in a worker: the very files that the cell was submitted with.

    Args:
        cell: the cell.
        fetch: the bundle with this digest, or None if there is none: then the plug-in is imported
            by its name, as it is installed here.
        keep: digests of plug-ins that must stay loaded.

    Returns:
        Digests of the plug-ins that the cell uses.

    Raises:
        ClashError: one of those to keep has a module of the same name.
        UserError: a module cannot be imported; the message names it.
    """
    if not cell.plugins:
        return set()
    digests = cell.digests
    here = loaded_modules(digests)
    if here.issuperset(cell.plugins):
        return digests
    for digest in sorted(digests):
        if (folder := _unpacked(digest, fetch)) is not None:
            modules = [name for name in cell.plugins if _has(folder, name)]
            load_unpacked(digest, modules, folder, keep)
            here.update(modules)
    load_plugins([name for name in cell.plugins if name not in here])
    return digests


def _has(folder: Path, module: str) -> bool:
    path = folder.joinpath(*module.split("."))
    return path.is_dir() or any(path.parent.glob(f"{path.name}.*"))


def _unpacked(digest: str, fetch: Callable[[str], bytes | None]) -> Path | None:
    """Folder with a bundle's files, which all workers of a machine share; None if there is none.

    Raises:
        UserError: the bundle is damaged.
    """
    folder = _cache() / digest
    if (folder / _ABOUT).is_file() and _digest(folder) == digest:
        os.utime(folder)
        return folder / _FILES
    if (packed := fetch(digest)) is None:
        return None
    draft = folder.with_name(f"{digest}-{uuid4().hex}")
    try:
        _extract(packed, draft)
        if (found := _digest(draft)) != digest:
            raise UserError(f"the plug-in {digest} in the store is damaged: its files are {found}")
        if folder.exists():  # damaged
            folder.rename(folder.with_name(f"{digest}-{uuid4().hex}"))
        with suppress(OSError):  # another worker was faster
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _remove_unused()
    return folder / _FILES


def _extract(packed: bytes, folder: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(folder)  # never outside the folder
            for info in archive.infolist():
                if info.external_attr >> 16:
                    (folder / info.filename).chmod(0o600 | info.external_attr >> 16 & 0o755)
    except (zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"a plug-in in the store is damaged: {error}") from error


def _digest(folder: Path) -> str:
    """Digest of the files in a folder that the bundle's description names."""
    try:
        about = json.loads((folder / _ABOUT).read_bytes())
        contents = {name: (folder / _FILES / name).read_bytes() for name in about["files"]}
    except (OSError, ValueError, KeyError):
        return "incomplete"
    return digest_of(contents, about["distribution"])


def _cache() -> Path:
    """This user's folder of unpacked bundles on this machine; of this process alone where another
    user has taken its name."""
    base = Path(tempfile.gettempdir()).absolute() / f"stn-cluster-{os.getuid()}"
    for folder in (base, base / "plugins"):
        with suppress(FileExistsError):  # a link, or a file
            folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            return _own_cache()
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    return base / "plugins"


@cache
def _own_cache() -> Path:
    made = Path(tempfile.mkdtemp(prefix="stn-cluster-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _remove_unused() -> None:
    oldest = time.time() - UNUSED_SECONDS
    for folder in _cache().iterdir():
        with suppress(OSError):
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
