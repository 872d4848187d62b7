"""What a plug-in brings: its file or package, with all that it imports and names in its folder.

That is what travels to the workers, and what is hashed: one list for both. A package's files all
belong to it. Beside a single file, those belong to it that it imports, and those whose names stand
in its source. Hidden files, bytecode, virtual environments and result stores never do.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path, PurePosixPath

from stn_cluster.errors import UserError
from stn_cluster.registry.folder_files import (
    FilesBeside,
    files_of,
    is_left_behind,
    read,
    size_of,
)
from stn_cluster.registry.import_paths import (
    Unit,
    find_elsewhere,
    find_unit,
    installed_folders,
    is_installed,
    is_standard,
)
from stn_cluster.registry.source_scan import scan

MAX_MEGABYTES = 100
MAX_FILES = 2_000
_OURS = "stn_cluster"
_CODE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Brought:
    """Files that a plug-in brings."""

    units: tuple[Unit, ...]  # its own first, then those that it imports
    files: Mapping[str, Path]  # by the name that each has for the workers: 'my_package/nets.py'
    distribution: str = ""  # 'name==version' if it is an installed one
    left_out: tuple[str, ...] = ()  # too large to travel, though its source names them

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of the files' names and contents.

        Raises:
            UserError: a file cannot be read.
        """
        return digest_of(self.contents(), self.distribution)

    def contents(self) -> dict[str, bytes]:
        """Content of each file, by name.

        Raises:
            UserError: a file cannot be read.
        """
        return {name: read(path) for name, path in self.files.items()}

    def not_brought(self, opened: Sequence[Path]) -> list[Path]:
        """Those of the files that were read which are in its folder and which it does not bring."""
        known = {path.resolve() for path in self.files.values()}
        read = (path for path in opened if _is_data_of(self.units[0], path))
        return [path for path in dict.fromkeys(read) if path.resolve() not in known]

    def clashes_with(self, other: Brought) -> str | None:
        """First name of a module that both bring, from different places; None if there is none."""
        places = {unit.name: unit.path for unit in other.units}
        clashing = (u.name for u in self.units if places.get(u.name, u.path) != u.path)
        return next(clashing, None)


def digest_of(contents: Mapping[str, bytes], distribution: str = "") -> str:
    """See `Brought.digest`."""
    digest = hashlib.sha256(f"{distribution}\0".encode() if distribution else b"")
    for name in sorted(contents, key=lambda name: PurePosixPath(name).parts):
        digest.update(f"{name}\0{len(contents[name])}\0".encode())
        digest.update(contents[name])
    return digest.hexdigest()[:12]


def brought_by(
    own: Unit, folders: Sequence[Path], also: Sequence[Unit] = (), opened: Sequence[Path] = ()
) -> Brought:
    """Finds what a plug-in brings.

    Args:
        own: the plug-in's own file or package.
        folders: folders of one's own modules; see `own_folders`.
        also: units that it has imported in ways that its source does not tell.
        opened: files that it has read while it was imported.

    Raises:
        UserError: it is too much, a module has the name of one of Python's or of an installed
            package, or a file cannot be read.
    """
    installed = is_installed(own.root)
    distribution = _distribution(own.top) if installed else ""
    units: dict[str, Unit] = {}
    files = _Files()
    named = FilesBeside()
    scanned: set[Path] = set()
    own_unit = cache(partial(_own_unit, folders=folders, distribution=distribution))
    pending = [own, *also]
    while pending:
        unit = pending.pop(0)
        if any(known.contains(unit.name) for known in units.values()):
            continue
        units[unit.name] = unit
        sources: list[tuple[str, Path]] = []
        for name, path in files_of(unit):
            files.add(name, path)
            _check_size(own, files)
            sources.append((name, path))
        while sources:
            name, path = sources.pop(0)
            if not name.endswith(".py") or path in scanned:
                continue
            scanned.add(path)
            names = scan(read(path), package=".".join(PurePosixPath(name).parent.parts))
            found = (own_unit(module, unit) for module in sorted(names.modules))
            pending += filter(None, found)
            if not installed:  # a source that is named is run by its path, and has its own needs
                sources += named.add(path, unit.root, names.files)
    for path in opened:
        if _is_data_of(own, path):
            files.add(path.relative_to(own.root).as_posix(), path)
    _check_size(own, files)
    left_out = list(named.too_many)
    left_out += [text for text, found in named.found.items() if not files.add_if_it_fits(found)]
    return Brought(tuple(units.values()), files.paths, distribution, tuple(sorted(left_out)))


def _is_data_of(own: Unit, path: Path) -> bool:
    """Whether a file that was read at import is in the plug-in's folder, and no source or library's
    file: sources are known by their imports, and are not read where there is bytecode."""
    if own.root not in path.parents or path.suffix == ".py" or is_installed(path.parent):
        return False
    if any(Path(prefix) in path.parents for prefix in (sys.prefix, sys.base_prefix, _CODE)):
        return False
    return not is_left_behind(path.relative_to(own.root))


class _Files:
    """Files by name, and their size."""

    def __init__(self) -> None:
        self.paths: dict[str, Path] = {}
        self.size = 0  # bytes

    @property
    def fit(self) -> bool:
        """Whether so much may travel."""
        return self.size <= MAX_MEGABYTES * 10**6 and len(self.paths) <= MAX_FILES

    def add(self, name: str, path: Path) -> None:
        """Adds a file, if there is none of this name."""
        if name not in self.paths:
            self.paths[name] = path
            self.size += size_of(path)

    def add_if_it_fits(self, files: Mapping[str, Path]) -> bool:
        """Adds all of these files, or none if that were too much; returns whether it did."""
        before = dict(self.paths), self.size
        for name, path in files.items():
            self.add(name, path)
        if not self.fit:
            self.paths, self.size = before
            return False
        return True


def _own_unit(
    module: str, importer: Unit, folders: Sequence[Path], distribution: str
) -> Unit | None:
    """The unit of an imported module if the plug-in brings it, else None.

    Raises:
        UserError: beside the importer there is one with the name of one that is found elsewhere.
    """
    top = module.partition(".")[0]
    if top == _OURS or (top == importer.top and importer.name == top):
        return None
    if distribution:
        unit = find_unit(module, [importer.root])
        return unit if unit is not None and _distribution(unit.top) == distribution else None
    beside = find_unit(module, [importer.root])
    if is_standard(top):
        if beside is not None:
            raise UserError(f"{_shown(beside)}: has the name of a module of Python's; rename it")
        return None
    installed = find_unit(module, installed_folders())
    if installed is not None:
        if beside is not None and beside.path.resolve() != installed.path.resolve():
            raise UserError(
                f"{_shown(beside)}: has the name of an installed package "
                f"({_shown(installed)}); rename it"
            )
        return None
    unit = beside or find_unit(module, folders) or find_elsewhere(module)
    return None if unit is None or is_installed(unit.root) else unit


def check_name(module: str, own: Unit | None) -> None:
    """Refuses a plug-in with the name of a module of Python's or of an installed package.

    Args:
        module: its dotted name.
        own: where it is found among one's own modules, if it is.

    Raises:
        UserError: it has such a name.
    """
    top = module.partition(".")[0]
    if is_standard(top) or top == _OURS:
        owner = "stn-cluster's" if top == _OURS else "Python's"
        place = f" ({_shown(own)})" if own is not None else ""
        raise UserError(f"{module!r}{place}: has the name of a module of {owner}; rename it")
    installed = find_unit(module, installed_folders()) if own is not None else None
    if own is not None and installed is not None and own.path.resolve() != installed.path.resolve():
        raise UserError(
            f"{module!r} ({_shown(own)}): has the name of an installed package "
            f"({_shown(installed)}); rename it"
        )


def _shown(unit: Unit) -> str:
    return str(unit.path)


@lru_cache(maxsize=256)
def _distribution(top: str) -> str:
    """Distribution of an installed module, as 'name==version'; '' if it belongs to none."""
    names = importlib.metadata.packages_distributions().get(top, [])
    return ", ".join(f"{name}=={importlib.metadata.version(name)}" for name in sorted(set(names)))


def _check_size(own: Unit, files: _Files) -> None:
    if files.fit:
        return
    name, path = max(files.paths.items(), key=lambda item: size_of(item[1]))
    raise UserError(
        f"{own.path}: what it brings is more than {MAX_MEGABYTES} MB or {MAX_FILES:,} files (the "
        f"largest: {name}, {size_of(path) / 1e6:,.0f} MB); give the plug-in a folder of its own, "
        "or keep its data elsewhere, as in --data-root"
    )
