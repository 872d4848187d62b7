"""Commands that train on this machine, or start a service on its cluster."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cluster.cli.options import (
    DataRootOption,
    Filters,
    IntoOption,
    MachineOptions,
    OverridesOption,
    PluginsOption,
    PriorityOption,
    ServerOption,
    StoreOption,
    WorkersOption,
    filtered,
    refuse_with_server,
    store_or_client,
    with_machine,
)
from stn_cluster.cli.output import say, warnings_said, write
from stn_cluster.cli.progress import follow, print_result
from stn_cluster.client.schemas import PORT, TOKEN_VARIABLE
from stn_cluster.cluster.settings import LEASE_SECONDS
from stn_cluster.errors import UserError
from stn_cluster.plain_text import one_line

if TYPE_CHECKING:
    from stn_cluster.queue.jobs import Job


@with_machine
def run(
    config: Annotated[Path, typer.Argument(help="YAML file: what to run.")],
    machine: MachineOptions,
    store: StoreOption = None,
    overrides: OverridesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Train all cells again.")] = False,
    page: Annotated[
        bool, typer.Option("--page", help="Serve a page of the run, and print its address.")
    ] = False,
) -> None:
    """Train the cells of a config that the store lacks, on this machine, and print the table."""
    from stn_cluster.cluster.make_jobs import grid_job

    data_root = machine.get("data_root")
    job = grid_job(config, overrides=overrides or (), data_root=data_root, force=force, store=store)
    place = str(Path("results") / job.name) if store is None else store
    run_job_here(job, place, machine, page=page)


def plan(
    config: Annotated[Path, typer.Argument(help="YAML file: what to run.")],
    store: StoreOption = None,
    overrides: OverridesOption = None,
    workers: WorkersOption = None,
    data_root: DataRootOption = None,
    format: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Say what `run` would do with a config: cells and evaluations that the store has, hours and
    disk of training, and how wide the intervals will be. Nothing is written; a store without a
    history takes a short calibration, which fetches MNIST as `run` does."""
    from stn_cluster.cluster.make_jobs import grid_job
    from stn_cluster.planning.plan import plan_grid
    from stn_cluster.planning.plan_text import check_plan_format, render_plan

    check_plan_format(format)
    if workers is not None and workers < 1:
        raise UserError(f"workers: at least 1, not {workers}")
    job = grid_job(config, overrides=overrides or (), data_root=data_root, store=store)
    place = str(Path("results") / job.name) if store is None else store
    with warnings_said():
        found = plan_grid(
            job.cells, place, evaluations=job.evaluations, workers=workers, data_root=data_root
        )
    write(render_plan(found, format))


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
    """Train cells again that match all filters, of a store or of a service.

    Those of a store are trained on this machine, those of a service as a new job. Their history is
    kept. Cells of a published store need another store, --into.
    """
    from stn_cluster.store import Store, refuse_published

    source = store_or_client(store, server)
    if isinstance(source, Store):
        from stn_cluster.cluster.make_jobs import rerun_job

        target = source.uri if into is None else into
        refuse_published(target)
        data_root = machine.get("data_root")
        run_job_here(
            rerun_job(source, filters, data_root=data_root, priority=priority), target, machine
        )
        return
    if into is not None:
        raise UserError("--into: a service trains into its own store; name one with --store")
    refuse_with_server(machine)
    write(f"{one_line(source.rerun(priority=priority, **filters).job_id)}\n")


@with_machine
def serve(
    machine: MachineOptions,
    store: Annotated[str, typer.Option("--store", help="Folder or URI that all nodes can reach.")],
    state: Annotated[
        Path,
        typer.Option("--state", help="Folder on a disk of this machine, for the queue of jobs."),
    ],
    address: Annotated[
        str, typer.Option("--address", help="Ray cluster; this must be its head node.")
    ] = "auto",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free.")] = PORT,
    plugins: PluginsOption = None,
    lease_seconds: Annotated[
        float,
        typer.Option("--lease-seconds", help="A worker that is silent for as long is lost."),
    ] = LEASE_SECONDS,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            "--notify",
            metavar="URL",
            help="Told of ended jobs and failed cells, by POST of JSON; repeatable.",
        ),
    ] = None,
    exec_: Annotated[
        list[str] | None,
        typer.Option(
            "--exec",
            metavar="COMMAND",
            help="Gets the same JSON on its standard input; repeatable.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Let everybody on this machine do everything."),
    ] = False,
    gpu: Annotated[
        bool | None,
        typer.Option("--gpu/--cpu", help="Default: a GPU per worker if a node has one."),
    ] = None,
) -> None:
    """Serve a store on a Ray cluster, over HTTP.

    Clients need its token: STN_CLUSTER_TOKEN, which it must have if other machines can connect;
    else it makes one in its state, which clients of the same user find by themselves.
    """
    from stn_cluster.cluster.ray_probe import check_cluster
    from stn_cluster.cluster.settings import make_settings
    from stn_cluster.registry import load_plugins
    from stn_cluster.server.listen import ListenAddress
    from stn_cluster.server.notify_targets import make_targets
    from stn_cluster.store import refuse_published

    token = os.environ.get(TOKEN_VARIABLE, "").strip() or None
    own: MachineOptions = {"plugins": tuple(plugins or ()), "lease_seconds": lease_seconds}
    settings = make_settings(store, state=state, **own, **machine)
    if no_token and token:
        raise UserError(f"--no-token: and {TOKEN_VARIABLE} is set; leave one of them out")
    listen = ListenAddress(host, port, token, needs_token=not no_token)
    listen.check()
    targets = make_targets(notify or (), exec_ or (), os.environ)
    refuse_published(settings.store)
    load_plugins(settings.plugins)
    check_cluster(address)  # before Ray is imported
    from stn_cluster.server.serve import serve as serve_until_stopped

    serve_until_stopped(
        settings, listen, address=address, gpu=gpu, announce=_say_address, targets=targets
    )


def _say_address(address: str) -> None:
    """Says where the page is; a log, where others may read, gets no token."""
    shown = address if sys.stdout.isatty() else address.partition("#")[0]
    write(f"page: {shown}\n")


def run_job_here(job: Job, store: str, machine: MachineOptions, page: bool = False) -> None:
    """Runs a job, shows its progress, and its page if that is wanted, then prints its table."""
    from stn_cluster.cluster.run_local import run_job
    from stn_cluster.cluster.settings import make_settings
    from stn_cluster.report.folder import write_report
    from stn_cluster.store import redact

    if job.left_out:
        say(job.left_out)
    beside = None
    if page:
        from stn_cluster.server.run_page import page_of_run

        beside = page_of_run(lambda address: say(f"page: {address}"))
    statuses = run_job(job, make_settings(store, **machine), beside)
    status = follow(statuses, interrupted="run the same command again to resume")
    place = f"--store {shlex.quote(redact(store))}"
    print_result(write_report(store, job.cells, job.evaluations), status.cells, place)
