"""Commands that use a service, from any machine that can reach it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cluster.cli.options import (
    JobArgument,
    OverridesOption,
    PriorityOption,
    ServerOption,
    StoreOption,
    connect,
    store_or_client,
)
from stn_cluster.cli.output import say, show, write
from stn_cluster.cli.progress import follow, logs_command, print_result
from stn_cluster.plain_text import one_line, plain_lines

if TYPE_CHECKING:
    from stn_cluster.client.http_client import Client
    from stn_cluster.queue.jobs import JobStatus


def submit(
    config: Annotated[Path, typer.Argument(help="YAML file: what to run.")],
    server: ServerOption = None,
    overrides: OverridesOption = None,
    job_id: Annotated[
        str | None,
        typer.Option("--job-id", help="Repeating the same id and config has no effect."),
    ] = None,
    priority: PriorityOption = 0,
    force: Annotated[bool, typer.Option("--force", help="Train all cells again.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Watch it until it ends.")] = False,
) -> None:
    """Submit a job to a service, and print its id."""
    with connect(server) as client:
        status = client.submit(
            config, overrides=overrides or (), job_id=job_id, priority=priority, force=force
        )
        if status.left_out:
            say(one_line(status.left_out))
        if watch:
            say(one_line(status.job_id))
        else:
            write(f"{one_line(status.job_id)}\n")
        if watch:
            _watch(client, status.job_id, server)


def jobs(server: ServerOption = None) -> None:
    """List a service's jobs."""
    from stn_cluster.display.progress_view import job_list

    with connect(server) as client:
        show(job_list(client.jobs()))


def status(job: JobArgument, server: ServerOption = None) -> None:
    """Print the status of a job and its cells."""
    from dataclasses import replace

    from stn_cluster.display.progress_view import matrix
    from stn_cluster.queue.jobs import CellState

    with connect(server) as client:
        current = client.status(job)
        current = replace(current, cells=tuple(client.cells(job)))
    show(matrix(current))
    failed = [cell for cell in current.cells if cell.state is CellState.FAILED]
    if failed:
        command = logs_command(failed[0].cell, _place(server))
        write(f"the log of a failed cell: {command}\n")


def watch(job: JobArgument, server: ServerOption = None) -> None:
    """Watch a job until it ends, then print its table."""
    with connect(server) as client:
        _watch(client, job, server)


def cancel(job: JobArgument, server: ServerOption = None) -> None:
    """Cancel a job: cells that no other job wants stop."""
    with connect(server) as client:
        _print_status(client.cancel(job))


def retry(job: JobArgument, server: ServerOption = None) -> None:
    """Queue a job's failed and cancelled cells again."""
    with connect(server) as client:
        waiting = client.retry(job)
    write(f"{job}: waits for {waiting} cell{'' if waiting == 1 else 's'}\n")


def logs(
    cell: Annotated[str, typer.Argument(metavar="LABEL|KEY", help="As in ST-CNN/tps/RTS/seed0.")],
    server: ServerOption = None,
    store: StoreOption = None,
) -> None:
    """Print the log of each attempt at a cell, oldest first: from a service, or from a store."""
    from stn_cluster.store import Store, stored_logs

    source = store_or_client(store, server)
    if isinstance(source, Store):
        for log in stored_logs(source, cell):
            job = f", {log.job_id}" if log.job_id else ""
            _print_log(f"{log.attempt} of {log.key}{job}: {log.ending}", log.text)
        return
    with source as client:
        for attempt, text in client.logs(cell):
            end = attempt.ending or "running"
            _print_log(f"{attempt.attempt} of {attempt.key}, {attempt.job_id}: {end}", text)


def _print_log(title: str, text: str) -> None:
    write(f"--- attempt {one_line(title)}\n")
    write(plain_lines(text) or "(no log)\n")


def _watch(client: Client, job_id: str, server: str | None) -> None:
    message = f"the job continues; `stn-cluster watch {job_id}` watches it again"
    status = follow(client.watch(job_id), interrupted=message)
    table = client.table(job_id=job_id)
    if len({status.cell.tested_on is None for status in status.cells}) > 1:
        table += "\n" + client.transfer(job_id=job_id)
    print_result(table, status.cells, _place(server))


def _place(server: str | None) -> str:
    """Option that names the service again, if the environment does not."""
    return "" if server is None else f"--server {shlex.quote(server)}"


def _print_status(status: JobStatus) -> None:
    from stn_cluster.display.progress_view import summary

    write(f"{one_line(status.job_id)}: {status.state.value}, {summary(status)}\n")
