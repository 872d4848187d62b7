"""Our trainer beside the usual loop: the whole grid, every cell, a single step, and a pack's rest.

    python jobs/benchmarks/training.py --data-root data       # half an hour on two cores
    python jobs/benchmarks/training.py --quick                # digits, a few minutes
    python jobs/benchmarks/training.py --only versions --against ANOTHER_CHECKOUT

Grid: in turns, `stn-cluster run` with all 32 cells, and the usual loop cell by cell with all cores;
the same architectures, batches and steps. A cell's time of ours is its share of its pack's, divided
by the workers at work. Step: one thread, a batch that is distorted already, both in turns; beside
it the rate of matrix multiplication, measured in the same process. Pack: what is neither forward
nor backward nor update, on one thread. Versions: a step of another checkout, of this one, and of
this one in bf16, in turns, each in a process of its own on one thread.
"""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from grid_figures import compare_grids
from pack_figures import pack_costs
from rich.console import Console
from rich.table import Table
from step_figures import compare_steps
from step_versions import compare_versions, ratio, same_losses

from stn_cluster.stn.processor import processor_field


class Part(StrEnum):
    """Parts that can be measured separately."""

    STEP = "step"
    VERSIONS = "versions"
    PACK = "pack"
    GRID = "grid"


def main(
    dataset: str = "mnist",
    data_root: Path | None = None,
    recipe: str = "fast",
    model: Annotated[list[str] | None, typer.Option(help="Of the grid; repeatable.")] = None,
    steps: Annotated[int, typer.Option(help="Of each cell of the grid.")] = 150,
    rounds: Annotated[int, typer.Option(help="Of the grid.")] = 3,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    against: Annotated[Path | None, typer.Option(help="Another checkout; of versions.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Digits, few steps, one round.")] = False,
    only: Annotated[list[Part] | None, typer.Option(help="Repeatable; default: all.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file.")] = None,
) -> None:
    """Compares, prints tables, and writes all figures to a file."""
    if quick:
        dataset, data_root, steps, rounds = "digits", None, 40, 1
    parts = only or list(Part)
    console = Console()
    config = {"dataset": dataset, "recipe": {"name": recipe}}
    figures: dict[str, Any] = {
        "device": device_name(device),
        "torch": str(torch.__version__),
        "config": config,
        "steps": steps,
    }

    def keep(part: Part, found: Any, table: Table) -> None:
        figures[part] = found
        console.print(table)
        if out is not None:
            out.write_text(json.dumps(figures, indent=1))

    if Part.STEP in parts:
        found = compare_steps(config, device, repeats=5 if quick else 15)
        keep(Part.STEP, found, step_table(found))
    if Part.VERSIONS in parts and device == "cpu":
        rows = compare_versions(config, against, repeats=5 if quick else 25)
        keep(Part.VERSIONS, rows, versions_table(rows))
    if Part.PACK in parts and device == "cpu":
        costs = pack_costs(config, data_root, steps=20 if quick else 60)
        keep(Part.PACK, costs, pack_table(costs))
    if Part.GRID in parts:
        grid = config | {"recipe": {"name": recipe, "iterations": steps}}
        grid |= {"models": model} if model else {}
        found = compare_grids(grid, data_root, device, rounds)
        keep(Part.GRID, found, grid_table(found))


def device_name(device: str) -> str:
    """Name of the GPU, or number and kind of the CPU cores."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    kind = processor_field("model name") or "cpu"
    return f"{os.cpu_count()} cores, {kind}"


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


def versions_table(rows: list[dict[str, Any]]) -> Table:
    """As printed; medians, and medians of the ratios of turns."""
    names = ("before", "now", "bf16")
    table = Table("cell", "filters", *(f"{name} ms" for name in names), title="a step, one thread")
    for column in ("before / now", "now / bf16", "same losses", "peak MiB"):
        table.add_column(column)
    for row in rows:
        found = [row["versions"].get(name) for name in names]
        ratios = ratio(row, "before", "now"), ratio(row, "now", "bf16")
        same = {None: "", True: "yes", False: "NO"}[same_losses(row)]
        table.add_row(
            row["cell"],
            str(row["filters"]),
            *(f"{1e3 * median(one['seconds']):.1f}" if one else "" for one in found),
            *("" if value is None else f"{value:.2f}" for value in ratios),
            same,
            ", ".join(f"{one['peak_mib']:.0f}" for one in found if one),
        )
    return table


def pack_table(figures: list[dict[str, Any]]) -> Table:
    """As printed."""
    table = Table("pack of four", "core ms", "around ms", "test s", "share", title="packs")
    for row in figures:
        table.add_row(
            row["pack"],
            f"{row['core_ms']:.1f}",
            f"{row['around_ms']:.2f}",
            f"{row['test_seconds']:.1f}",
            f"{row['share']:.1%}",
        )
    return table


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
        f"{figures['workers']} workers of at most "
        f"{max(max(peaks) for peaks in figures['worker_peak_mib']):.0f} MiB"
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
