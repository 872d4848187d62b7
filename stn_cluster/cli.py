"""The `stn-cluster` command. Thin: what it does is done by the modules it calls.

Exit codes: 0 done, 1 cells failed, 2 the input is wrong, 130 interrupted.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from stn_cluster import __version__
from stn_cluster.errors import UserError

if TYPE_CHECKING:
    from stn_cluster.cluster.embedded import Machine
    from stn_cluster.cluster.job import Job, JobStatus
    from stn_cluster.store import Store

DONE, CELLS_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    help="Trains and tests the Spatial Transformer Networks grid, and makes its table.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StoreOption = Annotated[str | None, typer.Option("--store", help="Result store: folder or URI.")]
StateOption = Annotated[
    Path | None, typer.Option("--state", help="Folder on a local disk; default: in the store.")
]
DataRootOption = Annotated[
    Path | None,
    typer.Option("--data-root", envvar="STN_CLUSTER_DATA", help="Where MNIST/raw is, or goes."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Default: one a GPU, or one a CPU core.")
]
ThreadsOption = Annotated[
    int, typer.Option("--threads-per-worker", help="Of arithmetic, on a CPU.")
]
CheckpointOption = Annotated[
    float, typer.Option("--checkpoint-seconds", help="Between checkpoints of running cells.")
]
CheckpointStepsOption = Annotated[
    int | None, typer.Option("--checkpoint-steps", help="Or every so many steps, if sooner.")
]
Filters = dict[str, list[Any]]
_FILTERS: dict[str, type] = {
    "model": str,
    "transform": str,
    "distortion": str,
    "seed": int,
    "dataset": str,
    "recipe": str,
    "key": str,
}


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command an option for each filter; it gets those that were used as `filters`."""

    @functools.wraps(command)
    def with_filters(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in _FILTERS}
        command(filters={name: values for name, values in given.items() if values}, **arguments)

    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[kind] | None,  # type: ignore[valid-type]
                typer.Option(f"--{name}", metavar=name.upper(), help="Only this one; repeatable."),
            ],
        )
        for name, kind in _FILTERS.items()
    ]
    own = inspect.signature(command, eval_str=True).parameters.values()
    others = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.name != "filters"]
    with_filters.__signature__ = inspect.Signature([*others, *options])  # type: ignore[attr-defined]
    return with_filters


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    del debug  # main has seen to it: it decides what becomes of an exception
    if version:
        typer.echo(f"stn-cluster {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML file: what to run.")],
    store: StoreOption = None,
    state: StateOption = None,
    data_root: DataRootOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="FIELD=VALUE, as in recipe.iterations=800; repeatable."),
    ] = None,
    workers: WorkersOption = None,
    threads_per_worker: ThreadsOption = 1,
    checkpoint_seconds: CheckpointOption = 30.0,
    checkpoint_steps: CheckpointStepsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Train all cells anew.")] = False,
) -> None:
    """Train a grid's cells that the store does not hold yet, on this machine; print the table."""
    from stn_cluster.cluster.embedded import Machine
    from stn_cluster.cluster.grid_job import grid_job

    job = grid_job(config, overrides=overrides or (), force=force)
    machine = Machine(
        data_root, state, workers, threads_per_worker, checkpoint_seconds, checkpoint_steps
    )
    _run(job, str(Path("results") / job.name) if store is None else store, machine)


@app.command()
@filtered
def rerun(
    filters: Filters,
    store: StoreOption = None,
    state: StateOption = None,
    data_root: DataRootOption = None,
    workers: WorkersOption = None,
    threads_per_worker: ThreadsOption = 1,
    checkpoint_seconds: CheckpointOption = 30.0,
    checkpoint_steps: CheckpointStepsOption = None,
) -> None:
    """Train cells of a store anew: those that match all filters. Their history is kept."""
    from stn_cluster.cluster.embedded import Machine
    from stn_cluster.cluster.history import cells_to_rerun
    from stn_cluster.cluster.job import Job, new_job_id

    uri = _needed(store)
    job = Job(new_job_id("rerun"), tuple(cells_to_rerun(uri, filters)), force=True)
    machine = Machine(
        data_root, state, workers, threads_per_worker, checkpoint_seconds, checkpoint_steps
    )
    _run(job, uri, machine)


@app.command()
@filtered
def results(
    filters: Filters,
    store: StoreOption = None,
    format: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Print the current result of each cell of a store."""
    from stn_cluster.report.listing import listing
    from stn_cluster.store import load_results

    typer.echo(listing(load_results(_checked(store)), filters, format), nl=False)


@app.command()
@filtered
def table(
    filters: Filters,
    store: StoreOption = None,
    format: Annotated[str, typer.Option("--format", help="text, md, csv, latex or html.")] = "text",
    reference: Annotated[str, typer.Option("--reference", help="paper or none.")] = "paper",
) -> None:
    """Print the comparison table: mean error over seeds, and the paper's number beside it."""
    from stn_cluster.report.render import render
    from stn_cluster.report.table import comparison_table

    compared = comparison_table(_checked(store), reference, **filters)
    typer.echo(render(compared, format), nl=False)


def _run(job: Job, store: str, machine: Machine) -> None:
    """Runs a job with a view of it, then prints its table."""
    from rich.console import Console

    from stn_cluster.cluster.job import State
    from stn_cluster.cluster.run import run_job
    from stn_cluster.report.folder import write_report
    from stn_cluster.view import make_view, summary

    last: list[JobStatus] = []
    console = Console(stderr=True)
    try:
        with make_view(console) as view:

            def watch(status: JobStatus) -> None:
                last[:] = [status]
                view.update(status)

            status = run_job(job, store, machine=machine, watch=watch)
    except KeyboardInterrupt:
        where = f" ({summary(last[0])})" if last else ""
        typer.echo(f"interrupted{where}: the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(write_report(store, job.cells), nl=False)
    failed = [s for s in status.cells if s.state is State.FAILED]
    for cell in failed:
        typer.echo(f"{cell.cell.label}: failed: {cell.error}", err=True)
    if failed:
        raise typer.Exit(CELLS_FAILED)


def _needed(store: str | None) -> str:
    if store is None:
        raise UserError("--store: name a result store, as in --store results/quickstart")
    return store


def _checked(store: str | None) -> Store:
    """A store whose files can all be read."""
    from stn_cluster.store import Store

    opened = Store.open(_needed(store))
    opened.check()
    return opened


def main() -> None:
    """Runs the command; a user's error is one line and exit code 2, `--debug` shows where."""
    debug = "--debug" in sys.argv[1:]  # anywhere on the line
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        sys.exit(app(standalone_mode=False) or DONE)
    except UserError as error:
        if debug:
            raise
        _refuse(str(error))
    except TyperException as error:  # of the command line itself: an unknown option, say
        _refuse(f"{error.format_message().rstrip('.')} (see stn-cluster --help)")
    except typer.Abort:  # Ctrl-C while nothing ran that could be checkpointed
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone: `stn-cluster table | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)


def _refuse(message: str) -> NoReturn:
    typer.echo(f"stn-cluster: {' '.join(message.split())}", err=True)
    sys.exit(WRONG_INPUT)


if __name__ == "__main__":
    main()
