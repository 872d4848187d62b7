"""Our trainer beside the usual loop: the whole grid, every cell, and a single step.

    python jobs/benchmarks/training.py --data-root data       # half an hour on two cores
    python jobs/benchmarks/training.py --quick                # digits, a few minutes

Grid: in turns, `stn-cluster run` with all 32 cells, and the usual loop cell by cell with all cores;
the same architectures, batches and steps. A cell's time of ours is its share of its pack's, divided
by the workers at work. Step: one thread, a batch that is distorted already, both in turns; beside
it the rate of matrix multiplication, measured in the same process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
import typer
import yaml
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode
from usual_loop import train_usually, usual_model, usual_optimizer

from stn_cluster import load_results
from stn_cluster.config_file import parse_config
from stn_cluster.data.datasets import Dataset, load_dataset
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.training.cell_training import build_model
from stn_cluster.training.optimizers import make_optimizer
from stn_cluster.training.recipes import Recipe

WORKERS_TRIED = (0, 2, 4, 8)  # of the usual DataLoader
Config = dict[str, Any]


def main(
    dataset: str = "mnist",
    data_root: Path | None = None,
    recipe: str = "fast",
    steps: int = 150,
    rounds: int = 3,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    quick: bool = False,
    only: str = "",
    out: Path | None = None,
) -> None:
    """Compares, prints, and writes JSON to `out`. `only`: 'grid' or 'step'."""
    if quick:
        dataset, data_root, steps, rounds = "digits", None, 40, 1
    console = Console()
    config = {"dataset": dataset, "recipe": {"name": recipe, "iterations": steps}}
    figures: dict[str, Any] = {
        "device": device_name(device),
        "torch": str(torch.__version__),
        "config": config,
        "rounds": rounds,
    }
    if only != "grid":
        figures["step"] = compare_steps(config, device, repeats=5 if quick else 15)
        console.print(step_table(figures["step"]))
    if only != "step":
        figures["grid"] = compare_grids(config, data_root, device, rounds)
        console.print(grid_table(figures["grid"]))
    if out is not None:
        out.write_text(json.dumps(figures, indent=1))


def device_name(device: str) -> str:
    """The GPU's, or how many cores of which kind."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    kind = next(
        (line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")),
        "cpu",
    )
    return f"{os.cpu_count()} cores, {kind}"


def _cpu_lines() -> list[str]:
    found = Path("/proc/cpuinfo")
    return found.read_text().splitlines() if found.exists() else []


# --- a step ---


def compare_steps(config: Config, device: str, repeats: int) -> dict[str, Any]:
    """Seconds of forward, backward and update, ours and the usual, in turns; on one thread."""
    torch.set_num_threads(1)
    peak = matmul_rate(device)
    cells = resolve(parse_config(config | {"distortions": ["R", "RTS"]}))
    return {"matmul_flops": peak, "cells": [_compare_step(c, device, repeats, peak) for c in cells]}


def _compare_step(cell: Cell, device: str, repeats: int, peak: float) -> dict[str, Any]:
    recipe = Recipe.model_validate(cell.settings)
    images = torch.rand(recipe.batch_size, 1, cell.canvas, cell.canvas, device=device)
    labels = torch.randint(10, (recipe.batch_size,), device=device)
    ours, usual = build_model(cell, recipe, 10).to(device), usual_model(cell).to(device)
    assert count(ours) == count(usual)
    our_optimizer, their_optimizer = make_optimizer(ours, recipe), usual_optimizer(usual, recipe)

    def our_step() -> None:
        our_optimizer.set_rate(1e-3)
        our_optimizer.zero_grad()
        F.cross_entropy(ours(images), labels).backward()
        our_optimizer.step()

    def usual_step() -> None:
        their_optimizer.zero_grad()
        F.cross_entropy(usual(images), labels).backward()
        their_optimizer.step()

    with FlopCounterMode(display=False) as flops:
        usual_step()
    for step in (our_step, usual_step) * 2:
        step()
    pairs = [(seconds(our_step, device), seconds(usual_step, device)) for _ in range(repeats)]
    our_seconds = median(mine for mine, _ in pairs)
    return {
        "cell": f"{cell.model} {cell.transform} {cell.distortion}",
        "ours": our_seconds,
        "usual": median(theirs for _, theirs in pairs),
        "ratio": median(mine / theirs for mine, theirs in pairs),
        "flops": flops.get_total_flops(),
        "share_of_matmul": flops.get_total_flops() / our_seconds / peak,
    }


def matmul_rate(device: str, edge: int = 1024) -> float:
    """Floating-point operations a second of a square float32 product; the median of 15."""
    if device == "cuda":
        edge *= 8
    a = torch.rand(edge, edge, device=device)
    out = torch.empty_like(a)
    times = [seconds(lambda: torch.mm(a, a, out=out), device) for _ in range(17)][2:]
    return 2 * edge**3 / median(times)


def seconds(work: Callable[[], object], device: str) -> float:
    """How long it takes, the device's part included."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def count(model: torch.nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def step_table(figures: dict[str, Any]) -> Table:
    """As printed."""
    peak = figures["matmul_flops"] / 1e9
    table = Table(
        "cell", "ours ms", "usual ms", "ratio", "GFLOP", "of matmul", title="a step, one thread"
    )
    table.caption = f"matrix multiplication: {peak:,.0f} GFLOP/s"
    for row in figures["cells"]:
        table.add_row(
            row["cell"],
            f"{1e3 * row['ours']:.1f}",
            f"{1e3 * row['usual']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['flops'] / 1e9:.2f}",
            f"{row['share_of_matmul']:.0%}",
        )
    return table


# --- the grid ---


def compare_grids(config: Config, root: Path | None, device: str, rounds: int) -> dict[str, Any]:
    """The whole grid by us and by the usual loop, in turns."""
    torch.set_num_threads(torch.get_num_threads() if device == "cuda" else os.cpu_count() or 1)
    data = load_dataset(config["dataset"], root)
    cells = resolve(parse_config(config))
    loaders = best_loaders(cells, data, device)
    ours, usual = [], []
    for turn in range(rounds):
        pair = [
            (ours, lambda: run_ours(config, root)),
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
    """The cell with other settings."""
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


def run_ours(config: Config, root: Path | None) -> dict[str, Any]:
    """All cells by `stn-cluster run` in a process of its own: from the command to its exit."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "grid.yaml")
        file.write_text(yaml.safe_dump(config))
        store = Path(folder, "store")
        command = [sys.executable, "-m", "stn_cluster.cli", "run", str(file), "--store", str(store)]
        if root is not None:
            command += ["--data-root", str(root)]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - started
        rows = load_results(store)
    workers = max(1, len(set(rows["worker"]))) if "worker" in rows else os.cpu_count() or 1
    cells = {
        row.key: {
            "step": row.train_seconds / row.iterations / workers,
            "error": row.test_error,
        }
        for row in rows.itertuples()
    }
    return {"wall": wall, "workers": workers, "cells": cells}


def grid_table(figures: dict[str, Any]) -> Table:
    """As printed."""
    table = Table(
        "cell", "ours ms", "usual ms", "times", "error ours", "usual", title="a step of each cell"
    )
    walls = [
        ", ".join(f"{wall:.0f}" for wall in figures[name]) for name in ("wall_ours", "wall_usual")
    ]
    table.caption = (
        f"grid: ours {walls[0]} s, usual {walls[1]} s: {figures['ratio']:.2f} times; "
        f"{figures['workers']} workers"
    )
    for row in figures["cells"]:
        table.add_row(
            row["cell"],
            f"{1e3 * row['ours']:.2f}",
            f"{1e3 * row['usual']:.1f}",
            f"{row['ratio']:.1f}",
            f"{row['error_ours']:.2f}",
            f"{row['error_usual']:.2f}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
