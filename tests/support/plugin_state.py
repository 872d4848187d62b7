"""What loading plug-ins leaves in a process, taken back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from stn_cluster.registry import components, import_finder, plugins


@contextmanager
def plugins_forgotten() -> Iterator[None]:
    """Forgets, at the block's end, the plug-ins that it loads; edits are visible at once in it."""
    before = dict(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "_entries", dict(components._entries))
        patch.setattr(plugins, "_active", dict(plugins._active))
        patch.setattr(plugins, "_known", dict(plugins._known))
        patch.setattr(import_finder._finder, "places", list(import_finder._finder.places))
        patch.setattr(sys, "dont_write_bytecode", True)
        yield
    new = {name: module for name, module in sys.modules.items() if before.get(name) is not module}
    for name, module in new.items():
        places = [getattr(module, "__file__", None) or ""]
        with suppress(TypeError):  # torch has modules whose path is no list
            places += getattr(module, "__path__", [])
        if any("pytest-of-" in place for place in places):
            del sys.modules[name]
