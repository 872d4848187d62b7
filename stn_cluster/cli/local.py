"""Commands that train on this machine, or start a service on its cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cluster.cli.options import (
    Filters,
    IntoOption,
    MachineOptions,
    OverridesOption,
    PriorityOption,
    ServerOption,
    StoreOption,
    filtered,
    option_names,
    store_or_client,
    with_machine,
)
from stn_cluster.cli.progress import follow, print_result
from stn_cluster.client.schemas import PORT, TOKEN_VARIABLE
from stn_cluster.errors import UserError

if TYPE_CHECKING:
    from stn_cluster.queue.jobs import Job


@with_machine
def run(
    config: Annotated[Path, typer.Argument(help="YAML file: what to run.")],
    machine: MachineOptions,
    store: StoreOption = None,
    overrides: OverridesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Train all cells anew.")] = False,
) -> None:
    """Train a grid's cells that the store does not hold yet, on this machine; print the table."""
    from stn_cluster.cluster.make_jobs import grid_job

    job = grid_job(config, overrides=overrides or (), force=force)
    _run(job, str(Path("results") / job.name) if store is None else store, machine)


@with_machine
@filtered
def rerun(
    filters: Filters,
    machine: MachineOptions,
    store: StoreOption = None,
    server: ServerOption = None,
    into: IntoOption = None,
    priority: PriorityOption = 0,
) -> None:
    """Train cells anew that match all filters: of a store on this machine, or of a service, which
    gives it a job. Their history is kept. Cells of a published store are trained into another."""
    from stn_cluster.store import Store, refuse_published

    found = store_or_client(store, server)
    if isinstance(found, Store):
        from stn_cluster.cluster.make_jobs import rerun_job

        target = found.uri if into is None else into
        refuse_published(target)
        _run(rerun_job(found, filters, priority=priority), target, machine)
        return
    if into is not None:
        raise UserError("--into: a service trains into its own store; name one with --store")
    # The environment's data root is no wish of this command's.
    asked = {n: v for n, v in machine.items() if n != "data_root" or str(v) != _data_variable()}
    if asked:
        raise UserError(f"{option_names(asked)}: not with --server: the service has its own")
    typer.echo(found.rerun(priority=priority, **filters).job_id)


def _data_variable() -> str | None:
    return os.environ.get("STN_CLUSTER_DATA")


@with_machine
def serve(
    machine: MachineOptions,
    store: Annotated[str, typer.Option("--store", help="Folder or URI that every node reaches.")],
    state: Annotated[Path, typer.Option("--state", help="Folder on a disk of this machine.")],
    address: Annotated[
        str, typer.Option("--address", help="Of the Ray cluster; this is its head node.")
    ] = "auto",
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any.")] = PORT,
    plugins: Annotated[
        list[str] | None,
        typer.Option("--plugins", help="Module with components that jobs may name; repeatable."),
    ] = None,
    gpu: Annotated[
        bool | None, typer.Option("--gpu/--cpu", help="Default: a GPU each if a node has one.")
    ] = None,
) -> None:
    """Serve a store on a Ray cluster, over HTTP; with a token where others can reach it."""
    from stn_cluster.cluster.settings import make_settings
    from stn_cluster.server.listen import ListenAddress
    from stn_cluster.server.serve import serve as serve_until_told

    token = os.environ.get(TOKEN_VARIABLE, "").strip() or None
    settings = make_settings(store, state=state, plugins=tuple(plugins or ()), **machine)
    serve_until_told(settings, ListenAddress(host, port, token), address=address, gpu=gpu)


def _run(job: Job, store: str, machine: MachineOptions) -> None:
    """Runs a job, shows its progress, then prints its table."""
    from stn_cluster.cluster.run_local import run_job
    from stn_cluster.cluster.settings import make_settings
    from stn_cluster.report.folder import write_report

    statuses = run_job(job, make_settings(store, **machine))
    status = follow(statuses, interrupted="the same command goes on from here")
    print_result(write_report(store, job.cells), status.cells)
