"""Finding a plug-in's modules: beside it, and never in place of Python's or of installed ones."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from stn_cluster.registry.import_paths import (
    find_unit,
    installed_folders,
    is_installed,
    is_standard,
)


@dataclass(eq=False)
class Place:
    """Folders in which a plug-in's modules are found, also those it imports later."""

    folders: tuple[Path, ...]
    names: frozenset[str] | None = None  # of a worker: the plug-in's modules, all of them here
    likely: frozenset[str] | None = None  # the modules its sources name; None: not known yet

    def find(self, name: str) -> ModuleSpec | None:
        """Finds a module by its (first) name; None if it is not one's own."""
        if self.names is not None:
            return PathFinder.find_spec(name, self._path) if name in self.names else None
        if is_standard(name) or find_unit(name, installed_folders()) is not None:
            return None
        spec = PathFinder.find_spec(name, self._path)
        if spec is not None and spec.loader is None:  # a folder gives way to any module
            return PathFinder.find_spec(name) or spec
        return spec

    @property
    def _path(self) -> list[str]:
        return [str(folder) for folder in self.folders]

    def close(self) -> None:
        """Finds no more modules here."""
        if self in _finder.places:
            _finder.places.remove(self)


class _Finder(MetaPathFinder):
    """Finds modules in the places of plug-ins: of those that name it, then of all, newest first."""

    def __init__(self) -> None:
        self.places: list[Place] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None:  # a submodule: its package knows where
            return None
        newest = list(reversed(self.places))
        for place in sorted(newest, key=lambda p: p.likely is not None and name not in p.likely):
            if (spec := place.find(name)) is not None:
                return spec
        if any(place.names is not None for place in self.places):
            self._refuse_others(name)
        return None

    def _refuse_others(self, name: str) -> None:
        """On a worker, refuses modules that no plug-in has brought, but that are there by chance:
        they are in no cell's key."""
        if is_standard(name):
            return
        spec = PathFinder.find_spec(name)
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            return
        root = Path(spec.origin).parents[1 if spec.submodule_search_locations else 0]
        if not is_installed(root):
            raise ImportError(
                f"{name} ({spec.origin}) has not come with a plug-in, as no source imports it by "
                "its name: name it in an import statement"
            )


_finder = _Finder()


def search(place: Place) -> None:
    """Finds modules in a place, from now on until it is closed."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.places.append(place)


_watched: dict[int, list[Path]] = {}  # files opened, by the thread that watches
_hooked = False


@contextmanager
def opened_files() -> Iterator[list[Path]]:
    """Collects the files that this thread opens for reading within the block."""
    global _hooked
    if not _hooked:  # such a hook can never be removed
        sys.addaudithook(_note)
        _hooked = True
    thread = threading.get_ident()
    files: list[Path] = []
    _watched[thread] = files
    try:
        yield files
    finally:
        _watched.pop(thread, None)


def _note(event: str, arguments: Any) -> None:
    if event != "open" or not _watched:
        return
    files = _watched.get(threading.get_ident())
    if files is None:
        return
    name, mode, flags = arguments
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    writes = (mode and set("wax+") & set(mode)) or flags & (os.O_WRONLY | os.O_RDWR)
    if isinstance(name, str) and not writes and Path(name).is_file():
        files.append(Path(os.path.normpath(Path(name).absolute())))
