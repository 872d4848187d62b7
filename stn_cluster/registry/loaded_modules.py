"""Modules that have been imported: where they are from, and how they are imported anew."""

from __future__ import annotations

import sys
from pathlib import Path

from stn_cluster.registry.import_paths import Unit


def unit_of_loaded(module: str) -> Unit | None:
    """The unit of a module that has been imported; None if it is not from a file."""
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        loaded = sys.modules.get(name)
        file = getattr(loaded, "__file__", None)
        if file is not None:
            path = Path(file).absolute()
            return Unit(name, path.parent if hasattr(loaded, "__path__") else path)
    return None


def unload(unit: Unit) -> None:
    """Makes the next import read the source again."""
    for name in [name for name in sys.modules if unit.contains(name)]:
        del sys.modules[name]
    parent, _, child = unit.name.rpartition(".")
    if hasattr(sys.modules.get(parent), child):
        delattr(sys.modules[parent], child)


def look_here_first(unit: Unit) -> None:
    """Makes namespaces that were imported before, from other folders, find a unit in them."""
    names = unit.name.split(".")[:-1]
    for depth in range(1, len(names) + 1):
        space = sys.modules.get(".".join(names[:depth]))
        if space is not None and getattr(space, "__file__", None) is None:
            here = str(unit.root.joinpath(*names[:depth]))
            space.__path__ = [here, *(path for path in space.__path__ if path != here)]
