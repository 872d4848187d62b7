"""The plan of a grid: what is there, what it takes, and what its numbers will be able to say."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stn_cluster.evaluations import Evaluation
from stn_cluster.grid import Cell
from stn_cluster.paths import user_path
from stn_cluster.planning.forecast import cell_bytes, forecast, read_history
from stn_cluster.report.statistics.intervals import normal_quantile, wilson
from stn_cluster.report.statistics.power import smallest_significant
from stn_cluster.report.statistics.questions import LEVEL
from stn_cluster.store import (
    CELLS,
    OutdatedWarning,
    Store,
    as_frame,
    is_published,
    load_evaluations,
    redact,
)

_ENDS = ("succeeded", "failed")
ERRORS = (0.5, 1.0, 2.0, 5.0)  # percent, for which widths are forecast


@dataclass(frozen=True)
class Width:
    """What a test set can tell about networks of some error; percent and points."""

    error: float
    half_width: float  # of a network's interval
    narrowest: float  # the same if versions of an image were independent
    smallest: float | None  # difference of two that differ on as many images as one gets wrong


@dataclass(frozen=True)
class TestImages:
    """Test images of a data set, and what they can tell."""

    __test__ = False  # no test of pytest

    dataset: str
    n: int
    base_images: int
    widths: tuple[Width, ...]


@dataclass(frozen=True)
class Plan:
    """What a config would take and show."""

    store: str
    published: bool  # nothing can be trained into it
    cells: int
    stored: int  # that have a result
    failed: int  # that ended with an error, and would be trained again
    unknown: int  # to be trained, whose time cannot be said
    seeds: int  # fewest seeds of a trained entry; 0 if nothing is trained
    workers: int
    worker_seconds: float
    wall_seconds: float  # with that number of workers
    sources: Mapping[str, int]  # cells by what their time is known from
    devices: Mapping[str, str | None]  # of each source
    bytes: float  # that they add to the store
    free_bytes: int | None  # on the store's disk; None if it is not local
    images: tuple[TestImages, ...]
    evaluations: int = 0  # of trained cells on other test sets; not in the times and bytes
    evaluated: int = 0  # of these, that the store has

    @property
    def to_train(self) -> int:
        """Number of cells that `run` would train."""
        return self.cells - self.stored


def plan_grid(
    cells: Sequence[Cell],
    store: str,
    *,
    evaluations: Sequence[Evaluation] = (),
    workers: int | None = None,
    data_root: str | Path | None = None,
) -> Plan:
    """Plans the cells of a grid; writes nothing, but for a data set's files if they are missing and
    a calibration needs them.

    Args:
        cells: from `registry.resolve`.
        store: path or URI of the store, which need not exist yet.
        evaluations: those that the config asks for.
        workers: number of workers; default: one per core.
        data_root: folder of data files, if a calibration is necessary.

    Warns:
        OutdatedWarning: the store has results of such cells by an older version of a plug-in.

    Raises:
        UserError: a data set is missing or damaged.
        StoreError: the store cannot be read.
    """
    opened = Store.open(store) if Store.is_at(store) else None
    rows = as_frame(CELLS.empty_table()) if opened is None else opened.results(latest=False)
    succeeded, ended = (set(rows.loc[rows["status"].isin(_ENDS[:n]), "key"]) for n in (1, 2))
    if opened is not None:
        for line in opened.outdated(lambda: _keys_of(cells, rows)):
            warnings.warn(line, OutdatedWarning, stacklevel=2)
    new = [cell for cell in cells if cell.key not in succeeded]
    root = None if data_root is None else user_path(data_root)
    found = forecast(new, read_history(rows), root)
    seconds = [one.seconds for one in found.cells if one.seconds is not None]
    count = workers or _cores()
    sources = [one.source for one in found.cells if one.seconds is not None]
    datasets = dict.fromkeys(cell.dataset for cell in cells)
    loaded = _loaded([name for name in datasets if name not in found.n_test], root)
    n_test = {**found.n_test, **{name: n for name, (n, _) in loaded.items()}}
    repeats = {name: count for name, (_, count) in loaded.items()} | dict(found.repeats)
    repeats |= {} if opened is None else _stored_repeats(opened)
    return Plan(
        store=redact(store) if opened is None else opened.name,
        published=is_published(store),
        cells=len(cells),
        stored=len(cells) - len(new),
        failed=sum(cell.key in ended for cell in new),
        unknown=len(new) - len(seconds),
        seeds=_fewest_seeds(cells),
        workers=count,
        worker_seconds=sum(seconds),
        wall_seconds=max([sum(seconds) / count, *seconds]) if seconds else 0.0,
        sources={name: sources.count(name) for name in dict.fromkeys(sources)},
        devices={name: found.devices.get(name) for name in dict.fromkeys(sources)},
        bytes=sum(cell_bytes(*pair, n_test) for pair in zip(new, found.cells, strict=True)),
        free_bytes=_free_bytes(store),
        images=tuple(_images(name, n_test[name], repeats.get(name, 1)) for name in datasets),
        evaluations=len(evaluations),
        evaluated=_evaluated(opened, evaluations),
    )


def _evaluated(store: Store | None, evaluations: Sequence[Evaluation]) -> int:
    """Number of evaluations that a store has, of its cells' current results."""
    if store is None or not evaluations:
        return 0
    done = set(load_evaluations(store, status="succeeded")["evaluation"])
    return sum(one.key in done for one in evaluations)


def _keys_of(cells: Sequence[Cell], rows: pd.DataFrame) -> list[str]:
    """Keys of a store's results of the entries and seeds of cells, by whatever version of them."""
    names = {(cell.dataset, cell.recipe, cell.label) for cell in cells}
    stored = rows.loc[rows["status"] == "succeeded", ["dataset", "recipe", "label", "key"]]
    found = stored.drop_duplicates().itertuples(index=False, name=None)
    return [key for *name, key in found if tuple(name) in names]


def _loaded(names: Sequence[str], root: Path | None) -> dict[str, tuple[int, int]]:
    """Test images and versions of each, of data sets that neither store nor calibration knows."""
    if not names:
        return {}
    from stn_cluster.data.labels import load_test_labels  # loads torch

    with redirect_stdout(sys.stderr):  # what plug-ins print is none of the plan
        found = {name: load_test_labels(name, root) for name in names}
    return {name: (len(labels), repeats) for name, (labels, repeats) in found.items()}


def _stored_repeats(store: Store) -> dict[str, int]:
    """Versions of each base image, by data set, as far as the store has test sets."""
    rows = store.read("test_sets", columns=["dataset", "repeats"]).to_pylist()
    return {row["dataset"]: int(row["repeats"]) for row in rows}


def _cores() -> int:
    """Cores that this process may use: the number of workers of a machine without GPUs."""
    if hasattr(os, "sched_getaffinity"):  # only on some systems
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fewest_seeds(cells: Sequence[Cell]) -> int:
    """Smallest number of seeds of a trained entry of the matrix."""
    entries = Counter(
        (cell.dataset, cell.recipe, cell.model, cell.transform, cell.distortion)
        for cell in cells
        if cell.is_trained
    )
    return min(entries.values(), default=0)


def _free_bytes(store: str) -> int | None:
    """Free space on a local store's disk."""
    place = Store.place(store)
    if place is None:
        return None
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def _images(dataset: str, n: int, repeats: int) -> TestImages:
    """What test images can tell; with several versions of each, at worst: as if all were alike."""
    independent = n // repeats
    widths = []
    for error in ERRORS:
        ends = [wilson(error / 100, count, normal_quantile(LEVEL)) for count in (independent, n)]
        wide, narrow = (100 * float(high - low) / 2 for low, high in ends)
        smallest = smallest_significant(round(error / 100 * independent), independent)
        points = None if smallest is None else 100 * smallest
        widths.append(Width(error, wide, narrow, points))
    return TestImages(dataset, n, independent, tuple(widths))
