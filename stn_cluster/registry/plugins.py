"""Plug-ins: a user's own modules, imported by name and identified by all that they bring."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stn_cluster.errors import UserError
from stn_cluster.registry.import_effects import undone
from stn_cluster.registry.import_finder import Place, opened_files, search
from stn_cluster.registry.import_paths import (
    Unit,
    find_elsewhere,
    find_unit,
    installed_folders,
    is_installed,
    own_folders,
)
from stn_cluster.registry.loaded_modules import look_here_first, unit_of_loaded, unload
from stn_cluster.registry.plugin_files import Brought, brought_by, check_name, digest_of
from stn_cluster.registry.source_scan import scan
from stn_cluster.thread_binding import unbound

log = logging.getLogger(__name__)

# Held while plug-ins are imported and cells are made of what they have registered: threads may
# load plug-ins of one name from several folders.
loading = threading.RLock()


class ClashError(UserError):
    """Two plug-ins that are needed at once have modules of one name."""


@dataclass(eq=False)
class Plugin:
    """A plug-in as it has been imported."""

    module: str
    brought: Brought
    place: Place
    digest: str = ""  # of all that it brings: the revision of its components; '' while it imports
    forgotten: bool = False  # whether another version, or another plug-in, has taken its place

    def contents(self) -> dict[str, bytes]:
        """Content of each file that it brings, as it was when it was imported.

        Raises:
            UserError: a file has changed since.
        """
        found = self.brought.contents()
        if digest_of(found, self.brought.distribution) != self.digest:
            raise UserError(
                f"plug-in {self.module!r} has been edited since this run began; run it again"
            )
        return found


_active: dict[str, Plugin] = {}  # by module
_known: dict[str, Plugin] = {}  # by digest; also those that were forgotten
_importing: list[Plugin] = []


def load_plugins(modules: Sequence[str], search: Sequence[Path] = ()) -> None:
    """Imports plug-in modules, also from the folders `search` (the config's), which come first.

    One that was edited is imported again. A plug-in that was loaded before is forgotten where one
    of these has its name, or a module of the same name.

    Raises:
        UserError: a module cannot be imported, or may not be; the message names it.
    """
    with loading:
        importlib.invalidate_caches()
        folders = own_folders([*search, Path.cwd()])
        loaded: list[Plugin] = []
        for module in modules:
            with _named(module):
                loaded.append(_load(module, folders, loaded))


def load_unpacked(digest: str, modules: Sequence[str], folder: Path, keep: Collection[str]) -> None:
    """Imports plug-in modules from the folder that one plug-in's files were unpacked to.

    Args:
        digest: the plug-in's, which these files have.
        modules: those of its modules that register components.
        folder: the folder.
        keep: digests of plug-ins that must stay loaded.

    Raises:
        ClashError: one of those has a module of the same name.
        UserError: a module cannot be imported; the message names it.
    """
    with loading:
        sources = [path.relative_to(folder).parts for path in sorted(folder.rglob("*.py"))]
        names = frozenset(parts[0].partition(".")[0] for parts in sources)
        units = tuple(filter(None, (find_unit(name, [folder]) for name in sorted(names))))
        place = Place((folder,), names)
        for module in modules:
            with _named(module):
                active = _active.get(module)
                if active is not None and active.digest == digest:
                    continue
                own = find_unit(module, [folder])
                brought = Brought(tuple(filter(None, [own, *units])), {})
                kept = [plugin for plugin in _active.values() if plugin.digest in keep]
                _make_room(module, brought, kept)
                _import(Plugin(module, brought, place, digest))


def known_plugin(digest: str) -> Plugin | None:
    """The plug-in that was loaded here with this digest, if any."""
    return _known.get(digest)


def loaded_modules(digests: Collection[str]) -> set[str]:
    """Modules of the plug-ins that are loaded with one of these digests."""
    return {plugin.module for plugin in _active.values() if plugin.digest in digests}


def registering(module: str) -> Plugin:
    """The plug-in that a module belongs to which registers a component at this moment.

    Raises:
        UserError: workers could not import the module.
    """
    if _importing:
        return _importing[-1]
    unit = None if module == "__main__" else unit_of_loaded(module)
    if unit is None:
        raise UserError(
            f"{module}: register components in a module of their own, which workers can import"
        )
    folders = own_folders([unit.root])
    brought = brought_by(unit, folders)
    plugin = Plugin(module, brought, Place(tuple(folders)), brought.digest)
    _active[module] = _known[plugin.digest] = plugin
    return plugin


@contextmanager
def _named(module: str) -> Iterator[None]:
    """Names the plug-in in all that goes wrong when it is imported."""
    try:
        yield
    except ClashError:
        raise
    except UserError as error:
        raise UserError(f"plugins: {module!r}: {error}") from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"plugins: {module!r} does not import: {reason} "
            "(searched: the config's folder, this folder and Python's path)"
        ) from error


def _load(module: str, folders: Sequence[Path], keep: Sequence[Plugin]) -> Plugin:
    own = find_unit(module, folders)
    check_name(module, own)
    own = own or find_unit(module, installed_folders()) or find_elsewhere(module)
    if own is None:
        raise ModuleNotFoundError(f"No module named {module!r}")
    folders = own_folders([] if is_installed(own.root) else [own.root, *folders])
    brought = brought_by(own, folders)
    active = _active.get(module)
    if active is not None and _is_current(active, brought):
        return active
    _make_room(module, brought, keep)
    return _import(Plugin(module, brought, Place(tuple(folders))))


def _is_current(active: Plugin, found: Brought) -> bool:
    """Whether what was imported is what is there now."""
    known = active.brought
    if active.module not in sys.modules or known.units[0] != found.units[0]:
        return False
    if not set(found.files) <= set(known.files):
        return False
    try:
        return known.digest == active.digest
    except UserError:  # a file has gone
        return False


def _make_room(module: str, brought: Brought, keep: Sequence[Plugin]) -> None:
    """Forgets what was loaded before under this name, or with modules of the same names."""
    for plugin in list(_active.values()):
        name = plugin.brought.clashes_with(brought)
        if plugin.module == module and plugin not in keep:
            _forget(plugin)
        elif name is not None:
            if plugin in keep:
                raise ClashError(
                    f"plugins: {plugin.module!r} and {module!r} both have a module {name!r} "
                    f"({_place(plugin.brought, name)}, {_place(brought, name)}); rename one"
                )
            _forget(plugin)
    for unit in brought.units:  # what the user has imported of this name, from elsewhere
        loaded = unit_of_loaded(unit.name)
        if loaded is not None and loaded.name == unit.name and loaded.path != unit.path:
            unload(unit)
        look_here_first(unit)


def _place(brought: Brought, name: str) -> Path:
    return next(unit.path for unit in brought.units if unit.name == name)


def _forget(plugin: Plugin) -> None:
    plugin.forgotten = True
    plugin.place.close()
    _active.pop(plugin.module, None)
    for unit in plugin.brought.units:
        unload(unit)


def _import(plugin: Plugin) -> Plugin:
    """Imports a plug-in's module, and finds out what it brings unless that is known.

    Raises:
        Exception: whatever the module raises; nothing of it stays.
    """
    module, brought, unpacked = plugin.module, plugin.brought, bool(plugin.digest)
    before = set(sys.modules)
    _importing.append(plugin)
    try:
        search(plugin.place)
        # Unbound, as the module may load PyTorch, which would bind all that this process starts.
        with unbound(), undone(_words(plugin)) as effects, opened_files() as opened:
            importlib.import_module(module)
            folders = own_folders(plugin.place.folders)  # before its sys.path is undone
        if not unpacked:
            also = _imported(set(sys.modules) - before, brought, folders)
            plugin.brought = brought_by(brought.units[0], folders, also, opened)
            plugin.digest = plugin.brought.digest
            plugin.place.folders = tuple(folders)
            plugin.place.likely = frozenset(unit.top for unit in plugin.brought.units)
    except BaseException:
        plugin.forgotten = True
        plugin.place.close()
        for unit in brought.units:
            unload(unit)
        raise
    finally:
        _importing.pop()
    for line in _remarks(plugin, effects):
        log.warning("%s", line)
    _active[module] = _known[plugin.digest] = plugin
    return plugin


def _imported(new: Collection[str], brought: Brought, folders: Sequence[Path]) -> list[Unit]:
    """Units of one's own that were imported in ways that no source tells."""
    if brought.distribution:
        return []
    units = [unit_of_loaded(name) for name in sorted(new)]
    own = [
        unit
        for unit in dict.fromkeys(units)
        if unit is not None and unit.top != "stn_cluster" and unit.root in folders
    ]
    return [unit for unit in own if not any(b.contains(unit.name) for b in brought.units)]


def _words(plugin: Plugin) -> set[str]:
    """Names in the plug-in's sources: of variables, attributes and modules."""
    sources = [unit.path for unit in plugin.brought.units]
    files = [f for path in sources for f in ([path] if path.is_file() else path.rglob("*.py"))]
    return {
        word for file in files if file.suffix == ".py" for word in scan(file.read_bytes()).words
    }


def _remarks(plugin: Plugin, effects: Sequence[str]) -> Iterator[str]:
    if effects:
        what = ", ".join(dict.fromkeys(effects))
        yield (
            f"plug-in {plugin.module!r}: its import changed {what}; this has been undone, as "
            "other cells share the process"
        )
    if left_out := plugin.brought.left_out:
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        yield (
            f"plug-in {plugin.module!r}: {left_out[0]}{more}, which its source names, is too large "
            "to travel with it: workers do not have it"
        )
