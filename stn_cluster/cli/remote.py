"""Commands that ask a service, from wherever it can be reached."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cluster.cli.options import (
    JobArgument,
    OverridesOption,
    PriorityOption,
    ServerOption,
    connect,
)
from stn_cluster.cli.progress import follow, print_result

if TYPE_CHECKING:
    from stn_cluster.client.http_client import Client
    from stn_cluster.queue.jobs import JobStatus


def submit(
    config: Annotated[Path, typer.Argument(help="YAML file: what to run.")],
    server: ServerOption = None,
    overrides: OverridesOption = None,
    job_id: Annotated[
        str | None, typer.Option("--job-id", help="The same id and config again: the same job.")
    ] = None,
    priority: PriorityOption = 0,
    force: Annotated[bool, typer.Option("--force", help="Train all cells anew.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look at it until it ends.")] = False,
) -> None:
    """Hand a job to a service, and print its id."""
    with connect(server) as client:
        status = client.submit(
            config, overrides=overrides or (), job_id=job_id, priority=priority, force=force
        )
        typer.echo(status.job_id, err=watch)
        if watch:
            _watch(client, status.job_id)


def jobs(server: ServerOption = None) -> None:
    """List a service's jobs."""
    from rich.console import Console

    from stn_cluster.cli.progress_view import job_list

    with connect(server) as client:
        Console(width=160, highlight=False).print(job_list(client.jobs()), markup=False)


def status(job: JobArgument, server: ServerOption = None) -> None:
    """Print where a job stands."""
    from dataclasses import replace

    from rich.console import Console

    from stn_cluster.cli.progress_view import matrix

    with connect(server) as client:
        found = client.status(job)
        found = replace(found, cells=tuple(client.cells(job)))
    Console(highlight=False).print(matrix(found), markup=False)


def watch(job: JobArgument, server: ServerOption = None) -> None:
    """Look at a job until it ends, then print its table."""
    with connect(server) as client:
        _watch(client, job)


def cancel(job: JobArgument, server: ServerOption = None) -> None:
    """Cancel a job: its cells stop that no other job wants."""
    with connect(server) as client:
        _print_status(client.cancel(job))


def retry(job: JobArgument, server: ServerOption = None) -> None:
    """Queue a job's failed and cancelled cells anew."""
    with connect(server) as client:
        waiting = client.retry(job)
    typer.echo(f"{job}: waits for {waiting} cell{'' if waiting == 1 else 's'}")


def logs(
    cell: Annotated[str, typer.Argument(metavar="LABEL|KEY", help="As in ST-CNN/tps/RTS/seed0.")],
    server: ServerOption = None,
) -> None:
    """Print the log of each attempt at a cell, oldest first."""
    with connect(server) as client:
        for attempt, text in client.logs(cell):
            end = attempt.ending or "running"
            typer.echo(f"--- attempt {attempt.attempt} of {attempt.key}, {attempt.job_id}: {end}")
            typer.echo(text, nl=False)


def _watch(client: Client, job_id: str) -> None:
    goes_on = f"the job goes on; `stn-cluster watch {job_id}` looks at it again"
    status = follow(client.watch(job_id), interrupted=goes_on)
    print_result(client.table(job_id=job_id), status.cells)


def _print_status(status: JobStatus) -> None:
    from stn_cluster.cli.progress_view import summary

    typer.echo(f"{status.job_id}: {status.state.value}, {summary(status)}")
