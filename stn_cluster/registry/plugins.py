"""Plug-ins: a user's own modules, imported by name and identified by the hash of their source."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stn_cluster.errors import UserError


def plugin_path(module: str) -> Path:
    """File of a plug-in module, or folder of its package: Ray copies it to the workers."""
    top = sys.modules[module.partition(".")[0]]
    file = getattr(top, "__file__", None)
    if module == "__main__" or file is None:
        raise UserError(
            f"{module}: register components in a module of their own, or in a package with an "
            "__init__.py, which workers can import"
        )
    path = Path(file)
    return path.parent if path.name == "__init__.py" else path


def source_hash(module: str) -> str:
    """First 12 hex digits of the SHA-256 of a plug-in's file, or of all files of its package."""
    path = plugin_path(module)
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        relative = file.relative_to(path.parent).as_posix()
        digest.update(f"{relative}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def load_plugins(modules: Sequence[str], search: Sequence[Path] = ()) -> None:
    """Imports plug-in modules, also from the folders `search` (the config's).

    Raises:
        UserError: a module cannot be imported.
    """
    with _importable_from([Path.cwd(), *search]):
        for module in modules:
            try:
                _forget_if_edited(module)
                importlib.import_module(module)
                _loaded[module] = source_hash(module)
            except UserError as error:
                raise UserError(f"plugins: {module!r}: {error}") from error
            except (Exception, SystemExit) as error:  # the user's module may raise anything
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise UserError(
                    f"plugins: {module!r} does not import: {reason} "
                    "(searched: the config's folder, this folder and Python's path)"
                ) from error


_loaded: dict[str, str] = {}  # plug-in module -> hash of the source it was imported from


def _forget_if_edited(module: str) -> None:
    """Makes the next import read edited source again: notebook users edit between two runs."""
    if module not in _loaded or module not in sys.modules:
        return
    if _loaded[module] == source_hash(module):
        return
    top = module.partition(".")[0]
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@contextmanager
def _importable_from(folders: Sequence[Path]) -> Iterator[None]:
    paths = dict.fromkeys(str(folder.resolve()) for folder in folders)
    added = [path for path in paths if path not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        sys.path[:] = [path for path in sys.path if path not in added]
