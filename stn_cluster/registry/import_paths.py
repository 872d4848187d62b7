"""Where modules are: one's own, which a plug-in brings, and installed ones, which it finds."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import all_suffixes
from pathlib import Path

_SITES = {"site-packages", "dist-packages"}
_STANDARD = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


@dataclass(frozen=True)
class Unit:
    """What an import brings as a whole: a module's file, or the folder of a package.

    A folder without an __init__.py is no unit: its modules are units of their own.
    """

    name: str  # dotted: 'helpers', 'my_package', 'namespace.my_package'
    path: Path  # file or folder

    @property
    def root(self) -> Path:
        """Folder in which its name begins: the one that is on Python's path."""
        return self.path.parents[self.name.count(".")]

    @property
    def top(self) -> str:
        """First part of its name."""
        return self.name.partition(".")[0]

    def contains(self, module: str) -> bool:
        """Whether a module, by its dotted name, is part of it."""
        return module == self.name or module.startswith(f"{self.name}.")


def is_standard(module: str) -> bool:
    """Whether Python itself has a module of this (first) name."""
    return module in sys.stdlib_module_names or module in sys.builtin_module_names


@lru_cache(maxsize=4096)
def is_installed(folder: Path) -> bool:
    """Whether a folder of Python's path holds installed packages or Python itself."""
    if not _SITES.isdisjoint(folder.parts) or any(folder.is_relative_to(s) for s in _STANDARD):
        return True
    return next(folder.glob("*.dist-info"), None) is not None  # as `pip install --target` makes it


def own_folders(first: Iterable[Path] = ()) -> list[Path]:
    """Folders of one's own modules: those given, then those of Python's path."""
    folders = [*(folder.absolute() for folder in first), *(Path(p).absolute() for p in sys.path)]
    return [f for f in dict.fromkeys(folders) if f.is_dir() and not is_installed(f)]


def installed_folders() -> list[Path]:
    """Folders of installed packages on Python's path."""
    folders = [Path(p).absolute() for p in sys.path if p]
    return [f for f in dict.fromkeys(folders) if is_installed(f) and f not in _STANDARD]


def find_unit(module: str, folders: Sequence[Path]) -> Unit | None:
    """The unit that has a module, or None; nothing is imported.

    As in Python, a folder without an __init__.py gives way to a module of its name in a later one.
    """
    name, places = "", list(folders)
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        for place in places:
            if any((place / part / f"__init__{suffix}").is_file() for suffix in all_suffixes()):
                return Unit(name, place / part)
            for suffix in all_suffixes():
                if (file := place / f"{part}{suffix}").is_file():
                    return Unit(name, file)
        places = [place / part for place in places if (place / part).is_dir()]
    return None


def find_elsewhere(module: str) -> Unit | None:
    """The unit of a module that only a hook of `sys.meta_path` finds: an editable installation."""
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    file = Path(spec.origin)
    return Unit(top, file.parent if spec.submodule_search_locations else file)
