"""Time and size of cells, from a store's history or from a calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import pandas as pd
from pydantic import ValidationError

from stn_cluster.grid import Cell

CALIBRATION_SECONDS = 2.0  # of each model and recipe
PREDICTION_BYTES = 6  # of a test image: two classes and their probabilities
WEIGHT_BYTES = 4
OTHER_BYTES = 50_000  # of a cell: its row, curve, log, and the headers of their files


@dataclass(frozen=True)
class CellForecast:
    """What one cell would take."""

    seconds: float | None  # of one worker; None: it cannot be said
    parameters: float
    source: str  # 'history' or 'calibration'


@dataclass
class History:
    """What a store's rows say about time and size, on the device of the newest one."""

    device: str | None = None
    n_test: dict[str, int] = field(default_factory=dict)  # by data set
    _exact: dict[str, list[float]] = field(default_factory=dict)  # seconds
    _by_recipe: dict[str, list[float]] = field(default_factory=dict)  # seconds per unit of cost
    _by_model: dict[str, list[float]] = field(default_factory=dict)
    _parameters: dict[str, list[float]] = field(default_factory=dict)

    def seconds(self, cell: Cell) -> float | None:
        """Seconds of a cell: those of other seeds, else by cost of its model; None if unknown."""
        if names := self._exact.get(_entry(cell)):
            return fmean(names)
        if not cell.is_trained:  # its cost is none of training
            return None
        rates = self._by_recipe.get(_recipe(cell)) or self._by_model.get(cell.model)
        return fmean(rates) * cell.cost if rates else None

    def parameters(self, cell: Cell) -> float | None:
        """Trainable numbers of a cell; None if unknown."""
        counts = self._parameters.get(_recipe(cell))
        return fmean(counts) if counts else None


def read_history(rows: pd.DataFrame) -> History:
    """History of the succeeded rows of `cells`.

    Args:
        rows: all of them, also those of earlier attempts.
    """
    done = rows[rows["status"] == "succeeded"].sort_values("accepted_at", kind="stable")
    tested = done[done["n_test"].notna()].drop_duplicates("dataset", keep="last")
    timed = done[done["train_seconds"].notna()]  # those that were trained
    history = History(
        device=None if timed.empty else timed["device"].iloc[-1],
        n_test={row["dataset"]: int(row["n_test"]) for row in tested.to_dict("records")},
    )
    for row in timed.to_dict("records"):
        try:
            cell = Cell.model_validate_json(row["spec"])
        except ValidationError:
            continue
        if row["device"] != history.device:
            continue
        seconds = float(row["train_seconds"])
        history._exact.setdefault(_entry(cell), []).append(seconds)
        history._by_recipe.setdefault(_recipe(cell), []).append(seconds / cell.cost)
        history._by_model.setdefault(cell.model, []).append(seconds / cell.cost)
        if not pd.isna(row["parameters"]):
            history._parameters.setdefault(_recipe(cell), []).append(float(row["parameters"]))
    return history


def _entry(cell: Cell) -> str:
    """All that determines a cell's time but its seed."""
    names = (cell.dataset, cell.transform, cell.distortion_name, cell.variant, cell.canvas)
    return json.dumps([*names, _recipe(cell)])


def _recipe(cell: Cell) -> str:
    """A model, its recipe and what its images are: such cells differ in time as in cost."""
    network = None if cell.network is None else cell.network.model_dump(mode="json")
    names = [cell.model, network, cell.data.model_dump(mode="json"), cell.settings]
    return json.dumps(names, sort_keys=True)


def _calibrated(cell: Cell) -> str:
    """Cells of which one is measured for all: test sets are those of the data set."""
    return json.dumps([cell.dataset, _recipe(cell)])


@dataclass(frozen=True)
class Forecast:
    """What the cells to train would take, and what their test sets are."""

    cells: tuple[CellForecast, ...]
    devices: Mapping[str, str | None]  # of each source
    n_test: Mapping[str, int]  # by data set
    repeats: Mapping[str, int]


def forecast(cells: Sequence[Cell], history: History, data_root: Path | None) -> Forecast:
    """Forecasts cells: by history where it knows their models, else by calibrating each model.

    Args:
        cells: cells to train.
        history: of the store.
        data_root: folder of data files, for the calibration.

    Raises:
        UserError: a data set is missing or damaged.
    """
    seconds = {cell.key: history.seconds(cell) for cell in cells}
    unknown = _cheapest([cell for cell in cells if seconds[cell.key] is None])
    devices = {"history": history.device}
    n_test, repeats = dict(history.n_test), {}
    measured = {}
    if unknown:
        from stn_cluster.planning.calibration import calibrate

        found = calibrate(list(unknown.values()), data_root, CALIBRATION_SECONDS)
        for (name, cell), one in zip(unknown.items(), found, strict=True):
            measured[name] = (cell, one)
            if one is not None:
                devices["calibration"] = one.device
                n_test[cell.dataset], repeats[cell.dataset] = one.n_test, one.repeats
    forecasts = []
    for cell in cells:
        known = seconds[cell.key]
        if known is not None:
            forecasts.append(CellForecast(known, history.parameters(cell) or 0, "history"))
            continue
        first, one = measured[_calibrated(cell)]
        scaled = None
        if one is not None:
            scaled = one.seconds * cell.cost / first.cost
        size = one.parameters if one is not None else 0
        forecasts.append(CellForecast(scaled, size, "calibration"))
    return Forecast(tuple(forecasts), devices, n_test, repeats)


def cell_bytes(cell: Cell, found: CellForecast, n_test: Mapping[str, int]) -> float:
    """Bytes that a cell adds to the store."""
    predictions = n_test.get(cell.dataset, 0) * PREDICTION_BYTES
    return found.parameters * WEIGHT_BYTES + predictions + OTHER_BYTES


def _cheapest(cells: Sequence[Cell]) -> dict[str, Cell]:
    """The cheapest cell of each model, recipe and data set."""
    chosen: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda cell: cell.cost):
        chosen.setdefault(_calibrated(cell), cell)
    return chosen
