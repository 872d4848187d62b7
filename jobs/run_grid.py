"""Runs a grid on the Ray cluster that it is submitted to, and prints the table.

ray job submit --working-dir . -- python jobs/run_grid.py configs/mnist.yaml --store /shared/store

The job's id hangs on what it asks for alone: the same command again goes on where it was stopped.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from ray_job import StoreOption, full_path, main, run_and_print

from stn_cluster.cli.options import (
    CheckpointOption,
    DataRootOption,
    OverridesOption,
    PriorityOption,
    StateOption,
    ThreadsOption,
)
from stn_cluster.cluster.cluster_run import make_settings
from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.queue.jobs import new_job_id, plain


def run_grid(
    config: Annotated[Path, typer.Argument(help="YAML file: what to run.")],
    store: StoreOption,
    state: StateOption = None,
    data_root: DataRootOption = None,
    overrides: OverridesOption = None,
    priority: PriorityOption = 0,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="At most.")] = None,
    threads_per_worker: ThreadsOption = 1,
    checkpoint_seconds: CheckpointOption = 30.0,
    force: Annotated[bool, typer.Option("--force", help="Train all cells anew.")] = False,
) -> None:
    """Train a grid's cells that the store does not hold yet, on this Ray cluster."""
    settings = make_settings(
        full_path(store),
        state,
        data_root,
        workers=workers,
        threads_per_worker=threads_per_worker,
        checkpoint_seconds=checkpoint_seconds,
    )
    job = grid_job(config, overrides=overrides or (), force=force, priority=priority)
    same = f"{plain(job.name)}-{job.digest[:12]}"
    job = replace(job, job_id=new_job_id(job.name) if force else same)
    run_and_print(job, settings)


if __name__ == "__main__":
    main(run_grid)
