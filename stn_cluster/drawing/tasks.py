"""The tasks of the process that draws, by name, and what each needs of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from stn_cluster.drawing.remembered_store import RememberedStore

# Each is a function of a Workplace and the request's fields, and returns the answer's bytes.
_FUNCTIONS = {
    "breaking": "stn_cluster.drawing.answers:turn_until_it_fails",
    "draw": "stn_cluster.drawing.answers:draw",
    "images": "stn_cluster.drawing.image_sheets:draw_images",
    "layers": "stn_cluster.drawing.layers:draw_layers",
    "plan": "stn_cluster.drawing.planned_grid:plan_config",
    "transformations": "stn_cluster.drawing.drawn_transformations:draw_transformations",
}


@dataclass(eq=False)
class Workplace:
    """Store, data root and memory that tasks share."""

    store: RememberedStore
    data_root: Path | None
    kept: dict[str, Any] = field(default_factory=dict)  # whatever a task keeps, by its own name


def function_of(task: str) -> Callable[[Workplace, Mapping[str, Any]], bytes]:
    """Function of a task; loads its module."""
    module, _, name = _FUNCTIONS[task].partition(":")
    function: Callable[[Workplace, Mapping[str, Any]], bytes] = getattr(import_module(module), name)
    return function
