"""Files of a plug-in's folder: those of a package, and those that a source names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from stn_cluster.errors import UserError
from stn_cluster.registry.import_paths import Unit

MAX_SEEN = 20_000  # files and folders that are looked at in one folder
_LEFT_BEHIND = {"__pycache__", "node_modules"}


class TooManyError(UserError):
    """A folder has more files and folders than are looked at."""


def files_of(unit: Unit) -> Iterator[tuple[str, Path]]:
    """A unit's files, by their names below its root, without those that never travel.

    Raises:
        TooManyError: they are far too many.
    """
    if unit.path.is_dir():
        yield from _below(unit.path, unit.root)
    else:
        yield unit.path.relative_to(unit.root).as_posix(), unit.path


def _below(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """All files below a folder, also through links."""
    places: set[str] = set()
    seen = 0
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        seen += len(folders) + len(files)
        if seen > MAX_SEEN:
            raise TooManyError(f"{folder}: has more than {MAX_SEEN:,} files; a plug-in has few")
        if (real := os.path.realpath(place)) in places:  # a link to a folder above
            folders.clear()
            continue
        places.add(real)
        folders[:] = sorted(name for name in folders if not _is_apart(here / name))
        for name in sorted(files):
            path = here / name
            if _is(Path.is_file, path) and not is_left_behind(path.relative_to(root)):
                yield path.relative_to(root).as_posix(), path


def is_left_behind(path: Path) -> bool:
    """Whether a file never travels: hidden, bytecode, an editor's copy."""
    if path.suffix == ".pyc" or path.name.endswith("~"):
        return True
    return any(part.startswith(".") or part in _LEFT_BEHIND for part in path.parts)


def _is_apart(folder: Path) -> bool:
    """Whether a folder is not a plug-in's: hidden, a virtual environment or a result store."""
    if folder.name.startswith(".") or folder.name in _LEFT_BEHIND:
        return True
    is_store = (folder / "cells").is_dir() and (folder / "tmp").is_dir()
    return is_store or (folder / "pyvenv.cfg").is_file()


class FilesBeside:
    """Files and folders that sources name, as far as they are in the plug-in's folder."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Path]] = {}  # by the text that names them, then by name
        self.too_many: list[str] = []  # texts that name folders with too many files
        self._listings: dict[tuple[Path, Path, bool], list[tuple[str, Path]]] = {}

    def add(self, source: Path, root: Path, texts: Iterable[str]) -> list[tuple[str, Path]]:
        """Adds what texts of a source name, relative to the source or to its root.

        Args:
            source: the source.
            root: folder in which its module's name begins.
            texts: what may be paths; with `*` for parts that are computed.

        Returns:
            What is new, as names and paths, where it is not too much.
        """
        new: list[tuple[str, Path]] = []
        for base in dict.fromkeys([source.parent, root, source.resolve().parent]):
            inside = root if root in (base, *base.parents) else base
            for text in sorted(texts):
                if text.startswith(".") and "/" not in text:  # as in with_suffix(".npz")
                    text = f"{source.stem}{text}"
                text = text.removeprefix("*/")  # as in f"{HERE}/weights.npz"
                place = os.path.normpath(os.path.join(base, text))  # noqa: PTH118
                if not os.path.lexists(_fixed(place)):  # as nearly always: most texts are no paths
                    continue
                path = Path(place)
                if inside in path.parents and not is_left_behind(path.relative_to(inside)):
                    new += self._add(path, inside)
        return new

    def _add(self, path: Path, inside: Path) -> list[tuple[str, Path]]:
        text = path.relative_to(inside).as_posix()
        try:
            found = dict(self._matching(path, inside))
        except TooManyError:
            self.too_many.append(text)
            return []
        if not found or text in self.found:
            return []
        self.found[text] = found
        return list(found.items())

    def _matching(self, path: Path, root: Path) -> Iterator[tuple[str, Path]]:
        """A file, the files below a folder, or the files that match a pattern, in which `*` stands
        for anything, slashes included."""
        if "*" not in str(path.relative_to(root)):
            if _is(Path.is_file, path):
                yield path.relative_to(root).as_posix(), path
            elif _is(Path.is_dir, path) and not _is_apart(path):
                yield from self._listed(path, root, deep=True)
            return
        fixed = path.parent
        while "*" in str(fixed.relative_to(root)):
            fixed = fixed.parent
        if not _is(Path.is_dir, fixed):
            return
        pattern = ".*".join(map(re.escape, path.relative_to(root).as_posix().split("*")))
        matches = re.compile(pattern).fullmatch
        deep = fixed != path.parent or "**" in path.name
        yield from (file for file in self._listed(fixed, root, deep) if matches(file[0]))

    def _listed(self, folder: Path, root: Path, deep: bool) -> list[tuple[str, Path]]:
        """Files in or below a folder, read from the disk once."""
        listing = self._listings.get((folder, root, deep))
        if listing is None:
            listing = list(_below(folder, root) if deep else _directly_in(folder, root))
            self._listings[folder, root, deep] = listing
        return listing


def _fixed(place: str) -> str:
    """A path without the parts from the first on that has a `*`."""
    before, star, _ = place.partition("*")
    return before.rpartition("/")[0] if star else place


def _directly_in(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if _is(Path.is_file, path) and not is_left_behind(path.relative_to(root)):
            yield path.relative_to(root).as_posix(), path


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    """`kind(path)`, but False for what is no possible name, or may not be looked at."""
    try:
        return kind(path)
    except OSError:
        return False


def size_of(path: Path) -> int:
    """Size of a file in bytes; 0 if it cannot be known."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read(path: Path) -> bytes:
    """Content of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
