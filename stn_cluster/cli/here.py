"""Commands that train on this machine, or start a service on its cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cluster.cli.options import (
    CheckpointOption,
    CheckpointStepsOption,
    DataRootOption,
    Filters,
    IntoOption,
    OverridesOption,
    PackOption,
    PriorityOption,
    ServerOption,
    StateOption,
    StoreOption,
    ThreadsOption,
    WorkersOption,
    filtered,
    place,
)
from stn_cluster.cli.outcome import Watch, conclude, show
from stn_cluster.errors import UserError
from stn_cluster.server.wire import PORT, TOKEN_VARIABLE

if TYPE_CHECKING:
    from stn_cluster.cluster.embedded import Machine
    from stn_cluster.cluster.job import Job, JobStatus


def run(
    config: Annotated[Path, typer.Argument(help="YAML file: what to run.")],
    store: StoreOption = None,
    state: StateOption = None,
    data_root: DataRootOption = None,
    overrides: OverridesOption = None,
    workers: WorkersOption = None,
    threads_per_worker: ThreadsOption = 1,
    cells_per_pack: PackOption = None,
    checkpoint_seconds: CheckpointOption = 30.0,
    checkpoint_steps: CheckpointStepsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Train all cells anew.")] = False,
) -> None:
    """Train a grid's cells that the store does not hold yet, on this machine; print the table."""
    from stn_cluster.cluster.embedded import Machine
    from stn_cluster.cluster.grid_job import grid_job

    job = grid_job(config, overrides=overrides or (), force=force)
    machine = Machine(
        data_root=data_root,
        state=state,
        workers=workers,
        threads_per_worker=threads_per_worker,
        cells_per_pack=cells_per_pack,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_steps=checkpoint_steps,
    )
    _run(job, str(Path("results") / job.name) if store is None else store, machine)


@filtered
def rerun(
    filters: Filters,
    store: StoreOption = None,
    server: ServerOption = None,
    into: IntoOption = None,
    priority: PriorityOption = 0,
    state: StateOption = None,
    data_root: DataRootOption = None,
    workers: WorkersOption = None,
    threads_per_worker: ThreadsOption = 1,
    cells_per_pack: PackOption = None,
    checkpoint_seconds: CheckpointOption = 30.0,
    checkpoint_steps: CheckpointStepsOption = None,
) -> None:
    """Train cells anew that match all filters: of a store on this machine, or of a service, which
    gives it a job. Their history is kept. Cells of a published store are trained into another."""
    from stn_cluster.store import Store, refuse_published

    found = place(store, server)
    if not isinstance(found, Store):
        if into is not None:
            raise UserError("--into: a service trains into its own store; name one with --store")
        typer.echo(found.rerun(priority=priority, **filters).job_id)
        return
    from stn_cluster.cluster.embedded import Machine
    from stn_cluster.cluster.history import cells_to_rerun
    from stn_cluster.cluster.job import Job, new_job_id

    target = found.uri if into is None else into
    refuse_published(target)
    cells = tuple(cells_to_rerun(found, filters))
    job = Job(new_job_id("rerun"), cells, force=True, priority=priority)
    machine = Machine(
        data_root=data_root,
        state=state,
        workers=workers,
        threads_per_worker=threads_per_worker,
        cells_per_pack=cells_per_pack,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_steps=checkpoint_steps,
    )
    _run(job, target, machine)


def serve(
    store: Annotated[str, typer.Option("--store", help="Folder or URI that every node reaches.")],
    state: Annotated[Path, typer.Option("--state", help="Folder on a disk of this machine.")],
    data_root: DataRootOption = None,
    address: Annotated[
        str, typer.Option("--address", help="Of the Ray cluster; this is its head node.")
    ] = "auto",
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any.")] = PORT,
    plugins: Annotated[
        list[str] | None,
        typer.Option("--plugins", help="Module with components that jobs may name; repeatable."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="At most; default: as many as the nodes hold."),
    ] = None,
    gpu: Annotated[
        bool | None, typer.Option("--gpu/--cpu", help="Default: a GPU each if a node has one.")
    ] = None,
    threads_per_worker: ThreadsOption = 1,
    cells_per_pack: PackOption = None,
    checkpoint_seconds: CheckpointOption = 30.0,
) -> None:
    """Serve a store on a Ray cluster, over HTTP; with a token where others can reach it."""
    from stn_cluster.cluster.cluster_run import make_settings
    from stn_cluster.server.serve import Door
    from stn_cluster.server.serve import serve as serve_until_told

    door = Door(host, port, os.environ.get(TOKEN_VARIABLE, "").strip() or None)
    settings = make_settings(
        store,
        state,
        data_root=data_root,
        workers=workers,
        threads_per_worker=threads_per_worker,
        cells_per_pack=cells_per_pack,
        checkpoint_seconds=checkpoint_seconds,
        plugins=tuple(plugins or ()),
    )
    serve_until_told(settings, door, address=address, gpu=gpu)


def _run(job: Job, store: str, machine: Machine) -> None:
    """Runs a job with a view of it, then prints its table."""
    from stn_cluster.cluster.run import run_job
    from stn_cluster.report.folder import write_report

    def run(watch: Watch) -> JobStatus:
        return run_job(job, store, machine=machine, watch=watch)

    status = show(run, interrupted="the same command goes on from here")
    conclude(write_report(store, job.cells), status.cells)
