"""Preparation of a job, before anything starts: its data sets' files, its plug-ins and models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stn_cluster.errors import UserError
from stn_cluster.evaluations import Evaluation, EvaluationSet
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import Job
from stn_cluster.registry import find, is_torchvision, known_plugin, prepare_datasets

PREFLIGHT_SECONDS = 20.0  # a plug-in that takes longer is checked by the workers alone
FIT_SECONDS = 120.0  # torchvision's models and files of weights: nobody's code can hang there

# -P: no folder of the user's stands before Python's own modules.
_COMMAND = (
    "import json, sys; request = json.load(sys.stdin); sys.path[:] = request.pop('path'); "
    "from stn_cluster.training.preflight import main; main(**request)"
)
_OF_LATER_STEPS = ("iterations", "learning_rate", "evaluate_every")
_checked: set[str] = set()  # cells of kinds that this process has checked


def prepare(job: Job, data_root: Path | None) -> None:
    """Checks the files of a job's data sets, and uses its plug-ins and models once, on a few
    images.

    Raises:
        UserError: files are missing or damaged, or a plug-in fails or does not give what it
            should; the message names the component.
    """
    prepare_datasets(job.tested_cells, data_root)
    check_components(job.cells, data_root, job.evaluations)


def check_components(
    cells: Sequence[Cell], data_root: Path | None, evaluations: Sequence[Evaluation] = ()
) -> None:
    """Uses plug-ins, torchvision's models and files of weights once, in processes of their own: see
    `training/preflight.py`.

    Of evaluations, distortions of plug-ins are used at their severities.

    Nothing is known of what ends that process, or takes too long, or needs a GPU.

    Raises:
        UserError: a component fails, or does not give what it should.
    """
    kinds = {_kind(cell, data_root): cell for cell in cells if _is_checked(cell)}
    for known in _checked & kinds.keys():
        del kinds[known]
    tests = {evaluation.test.one_draw.name: evaluation.test.one_draw for evaluation in evaluations}
    scaled = [
        test for name, test in tests.items() if name not in _checked and _is_of_plugin(test.cell)
    ]
    if scaled:
        _check_severities(scaled, data_root)
    for of_plugins, seconds in ((True, PREFLIGHT_SECONDS), (False, FIT_SECONDS)):
        these = {kind: cell for kind, cell in kinds.items() if bool(cell.plugins) == of_plugins}
        if these:
            _check(these, data_root, seconds)


def _is_of_plugin(cell: Cell) -> bool:
    """Whether the distortion is a plug-in's that is loaded here."""
    entry = find("distortion", cell.distortion_name)
    return entry is not None and entry.plugin is not None


def _is_checked(cell: Cell) -> bool:
    return bool(cell.plugins) or not cell.is_trained or is_torchvision(cell.architecture)


def _check_severities(tests: Sequence[EvaluationSet], data_root: Path | None) -> None:
    asked = [(test.model_dump_json(), _folders(test.cell)) for test in tests]
    _ask({"tests": asked}, [test.name for test in tests], data_root, PREFLIGHT_SECONDS)


def _check(kinds: Mapping[str, Cell], data_root: Path | None, seconds: float) -> None:
    asked = [(cell.model_dump_json(), _folders(cell)) for cell in kinds.values()]
    _ask({"cells": asked}, kinds, data_root, seconds)


def _ask(
    asked: Mapping[str, Sequence[tuple[str, list[str]]]],
    kinds: Iterable[str],
    data_root: Path | None,
    seconds: float,
) -> None:
    """Has things checked, which are then known to be right.

    Raises:
        UserError: one of them is not.
    """
    request = {
        **asked,
        "data_root": None if data_root is None else str(data_root),
        "path": sys.path,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _COMMAND],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
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
    plugins = filter(None, map(known_plugin, sorted(cell.digests)))
    return list(dict.fromkeys(str(f) for plugin in plugins for f in plugin.place.folders))


def _kind(cell: Cell, data_root: Path | None) -> str:
    """The same for cells that differ in nothing that the first batch depends on."""
    settings = {name: value for name, value in cell.settings.items() if name not in _OF_LATER_STEPS}
    return f"{cell.model_copy(update={'seed': 0, 'settings': settings}).key} {data_root}"
