"""Runs a grid on the Ray cluster that it is submitted to, and prints the table.

ray job submit --working-dir . -- python jobs/run_grid.py configs/mnist.yaml --store /shared/store

The job's id depends only on its content, so the same command resumes a stopped job.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from ray_job import StoreOption, full_path, main, run_and_print

from stn_cluster.cli.options import MachineOptions, OverridesOption, PriorityOption, with_machine
from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.cluster.settings import make_settings
from stn_cluster.queue.jobs import id_prefix, new_job_id


@with_machine
def run_grid(
    config: Annotated[Path, typer.Argument(help="YAML file: what to run.")],
    machine: MachineOptions,
    store: StoreOption,
    overrides: OverridesOption = None,
    priority: PriorityOption = 0,
    force: Annotated[bool, typer.Option("--force", help="Train all cells anew.")] = False,
) -> None:
    """Train the cells of a config that the store does not have yet, on this Ray cluster."""
    settings = make_settings(full_path(store), **machine)
    job = grid_job(
        config,
        overrides=overrides or (),
        data_root=settings.data_root,
        force=force,
        priority=priority,
    )
    same = f"{id_prefix(job.name)}-{job.digest[:12]}"
    job = replace(job, job_id=new_job_id(job.name) if force else same)
    run_and_print(job, settings)


if __name__ == "__main__":
    main(run_grid)
