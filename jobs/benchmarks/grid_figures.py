"""The whole grid: `stn-cluster run` and the usual loop, cell by cell, in turns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import harness  # noqa: F401
import torch
import yaml
from support.processes import actors
from usual_loop import train_usually

from stn_cluster import load_results
from stn_cluster.config_file import parse_config
from stn_cluster.data.datasets import Dataset, load_dataset
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve

WORKERS_TRIED = (0, 2, 4, 8)  # of the usual DataLoader
Config = dict[str, Any]


def compare_grids(config: Config, root: Path | None, device: str, rounds: int) -> dict[str, Any]:
    """Times of the whole grid, ours and the usual loop's, in turns."""
    torch.set_num_threads(os.cpu_count() or 1)  # a single step was timed on one
    data = load_dataset(config["dataset"], root)
    cells = resolve(parse_config(config))
    loaders = best_loaders(cells, data, device)
    ours, usual = [], []
    for turn in range(rounds):
        pair = [
            (ours, lambda: run_ours(config, root, device)),
            (usual, lambda: run_usual(cells, data, device, loaders)),
        ]
        for results, run in pair if turn % 2 == 0 else pair[::-1]:
            results.append(run())
    ratios = [theirs["wall"] / mine["wall"] for mine, theirs in zip(ours, usual, strict=True)]
    return {
        "loader_workers": loaders,
        "wall_ours": [mine["wall"] for mine in ours],
        "wall_usual": [theirs["wall"] for theirs in usual],
        "ratios": ratios,
        "ratio": median(ratios),
        "workers": ours[0]["workers"],
        "worker_peak_mib": [mine["worker_peak_mib"] for mine in ours],
        "cells": [_cell_figures(cell, ours, usual) for cell in cells],
    }


def _cell_figures(cell: Cell, ours: list[Any], usual: list[Any]) -> dict[str, Any]:
    pairs = [
        (mine["cells"][cell.key], theirs["cells"][cell.key])
        for mine, theirs in zip(ours, usual, strict=True)
    ]
    return {
        "cell": f"{cell.model} {cell.transform} {cell.distortion}",
        "ours": median(mine["step"] for mine, _ in pairs),
        "usual": median(theirs["step"] for _, theirs in pairs),
        "ratio": median(theirs["step"] / mine["step"] for mine, theirs in pairs),
        "error_ours": median(mine["error"] for mine, _ in pairs),
        "error_usual": median(theirs["error"] for _, theirs in pairs),
    }


def best_loaders(cells: list[Cell], data: Dataset, device: str) -> dict[str, int]:
    """For each model and distortion the quickest number of DataLoader workers for these cores."""
    cores = os.cpu_count() or 1
    tried = [n for n in WORKERS_TRIED if n <= cores]
    best = {}
    for cell in cells:
        if cell.transform in ("none", "affine"):
            short = cell_with(cell, iterations=15)
            times = {
                n: train_usually(
                    short, data, num_workers=n, device=device, warmup=5, evaluate=False
                ).step_seconds
                for n in tried
            }
            best[f"{cell.model} {cell.distortion}"] = min(times, key=lambda n: times[n])
    return best


def cell_with(cell: Cell, **settings: Any) -> Cell:
    """Copy of a cell with other settings."""
    return cell.model_copy(update={"settings": cell.settings | settings})


def run_usual(
    cells: list[Cell], data: Dataset, device: str, loaders: dict[str, int]
) -> dict[str, Any]:
    """All cells, one after the other."""
    started = time.perf_counter()
    done = {}
    for cell in cells:
        came = train_usually(
            cell, data, num_workers=loaders[f"{cell.model} {cell.distortion}"], device=device
        )
        done[cell.key] = {"step": came.step_seconds, "error": came.error}
    return {"wall": time.perf_counter() - started, "cells": done}


def run_ours(config: Config, root: Path | None, device: str) -> dict[str, Any]:
    """All cells by `stn-cluster run` in a process of its own: from the command to its exit."""
    workers = torch.cuda.device_count() if device == "cuda" else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "grid.yaml")
        file.write_text(yaml.safe_dump(config))
        store = Path(folder, "store")
        command = [sys.executable, "-m", "stn_cluster.cli", "run", str(file)]
        command += ["--store", str(store), "--workers", str(workers)]
        if root is not None:
            command += ["--data-root", str(root)]
        started = time.perf_counter()
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peaks: dict[int, float] = {}
        while running.poll() is None:
            for process in actors("Worker"):
                peaks[process] = max(peaks.get(process, 0), peak_mib(process))
            time.sleep(0.2)
        wall = time.perf_counter() - started
        if running.returncode:
            raise RuntimeError(f"{command} ended with {running.returncode}")
        rows = load_results(store)
    cells = {
        row.key: {
            "step": row.train_seconds / row.iterations / workers,
            "error": row.test_error,
        }
        for row in rows.itertuples()
    }
    return {
        "wall": wall,
        "workers": workers,
        "worker_peak_mib": sorted(peaks.values()),
        "cells": cells,
    }


def peak_mib(process: int) -> float:
    """Peak resident memory of a process in MiB; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) / 1024
