"""Preparation of a job, before anything starts: its data sets' files, and its plug-ins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import known_plugin, prepare_datasets

PREFLIGHT_SECONDS = 20.0  # a plug-in that takes longer is checked by the workers alone

# -P: no folder of the user's stands before Python's own modules.
_COMMAND = (
    "import json, sys; request = json.load(sys.stdin); sys.path[:] = request.pop('path'); "
    "from stn_cluster.training.preflight import main; main(**request)"
)
_OF_LATER_STEPS = ("iterations", "batch_size", "learning_rate", "evaluate_every")
_checked: set[str] = set()  # cells of kinds that this process has checked


def prepare(cells: Sequence[Cell], data_root: Path | None) -> None:
    """Checks the files of the cells' data sets, and uses their plug-ins once, on a few images.

    Raises:
        UserError: files are missing or damaged, or a plug-in fails or does not give what it
            should; the message names the component.
    """
    prepare_datasets(cells, data_root)
    check_plugins(cells, data_root)


def check_plugins(cells: Sequence[Cell], data_root: Path | None) -> None:
    """Uses the plug-ins of cells once, in a process of their own: see `training/preflight.py`.

    Nothing is known of a plug-in that ends that process, or takes too long, or needs a GPU.

    Raises:
        UserError: a component fails, or does not give what it should.
    """
    kinds = {_kind(cell, data_root): cell for cell in cells if cell.plugins}
    for known in _checked & kinds.keys():
        del kinds[known]
    if not kinds:
        return
    request = {
        "cells": [(cell.model_dump_json(), _folders(cell)) for cell in kinds.values()],
        "data_root": None if data_root is None else str(data_root),
        "path": sys.path,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _COMMAND],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PREFLIGHT_SECONDS,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return
    wrong = json.loads(done.stdout) if done.stdout else None
    if wrong is not None:
        raise UserError(wrong)
    _checked.update(kinds)


def _folders(cell: Cell) -> list[str]:
    """The folders in which the cell's plug-ins were found."""
    digests = [revision for revision in cell.revisions.values() if isinstance(revision, str)]
    plugins = filter(None, map(known_plugin, digests))
    return list(dict.fromkeys(str(f) for plugin in plugins for f in plugin.place.folders))


def _kind(cell: Cell, data_root: Path | None) -> str:
    """The same for cells that differ in nothing that the first batch depends on."""
    settings = {name: value for name, value in cell.settings.items() if name not in _OF_LATER_STEPS}
    return f"{cell.model_copy(update={'seed': 0, 'settings': settings}).key} {data_root}"
