"""Functions that the scripts in this folder share."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from stn_cluster.cli import run_app
from stn_cluster.cli.output import say
from stn_cluster.cli.progress import follow, print_result
from stn_cluster.cluster.connect import ray_cluster, with_gpus
from stn_cluster.cluster.run_cluster import run_on_cluster
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import UserError
from stn_cluster.paths import user_path
from stn_cluster.queue.jobs import Job, JobStatus
from stn_cluster.report.folder import write_report
from stn_cluster.store import redact, refuse_published

StoreOption = Annotated[
    str, typer.Option("--store", help="Folder (its full path) or URI that every node reaches.")
]


def full_path(store: str, option: str = "--store") -> str:
    """The store, unless its path is relative: this runs in a copy of the working folder.

    Raises:
        UserError: it is.
    """
    if "://" not in store and not user_path(store).is_absolute():
        raise UserError(f"{option} {store}: give a full path or a URI: a Ray job runs elsewhere")
    return store


def run_and_print(job: Job, settings: Settings) -> None:
    """Runs a job on the cluster, prints its table, and exits with 1 if cells failed."""
    refuse_published(settings.store)
    if job.left_out:
        say(job.left_out)
    status = follow(_run(job, settings), interrupted="run the same command again to resume")
    place = f"--store {shlex.quote(redact(settings.store))}"
    print_result(write_report(settings.store, job.cells, job.evaluations), status.cells, place)


def _run(job: Job, settings: Settings) -> Iterator[JobStatus]:
    with ray_cluster():
        yield from run_on_cluster(job, with_gpus(settings))


def main(command: Callable[..., Any]) -> None:
    """Runs a script's command, with the exit codes and errors of `stn-cluster`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    run_app(app, command.__name__)
