"""Commands that test trained cells on other test sets, and show what that came to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stn_cluster.cli.options import (
    Filters,
    MachineOptions,
    PriorityOption,
    ServerOption,
    StoreOption,
    filtered,
    refuse_with_server,
    store_or_client,
    with_machine,
)
from stn_cluster.cli.output import say, write
from stn_cluster.errors import UserError
from stn_cluster.plain_text import one_line

FormatOption = Annotated[str, typer.Option("--format", help="text, md, csv, latex or html.")]


@with_machine
@filtered
def evaluate(
    filters: Filters,
    machine: MachineOptions,
    store: StoreOption = None,
    server: ServerOption = None,
    on: Annotated[
        str, typer.Option("--on", help="Test distortions, as in clean,R,P:xy@1.5.")
    ] = "clean,R,RTS,P,E",
    severity: Annotated[
        str, typer.Option("--severity", help="How strong, 0 to 3, as in 0.5,1,2.")
    ] = "1",
    worst_of: Annotated[
        int, typer.Option("--worst-of", help="Draws of each image, of which the worst counts.")
    ] = 1,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Whose test images; default: each cell's.")
    ] = None,
    priority: PriorityOption = 0,
) -> None:
    """Test trained cells that match all filters on other test sets, and print the table.

    Those of a store are evaluated on this machine, those of a service as a new job, whose id is
    printed. What the store has already is not computed again.
    """
    from stn_cluster.config_file import parse_config
    from stn_cluster.store import Store

    wanted: dict[str, Any] = {
        "of": "store",
        "on": _listed(on),
        "severity": _numbers(severity),
        "worst_of": worst_of,
        "dataset": dataset,
        "filters": filters,
    }
    config = parse_config({"name": "evaluate", "evaluate": wanted}, source="evaluate")
    source = store_or_client(store, server)
    if not isinstance(source, Store):
        refuse_with_server(machine)
        write(f"{one_line(source.submit(config, priority=priority).job_id)}\n")
        return
    from stn_cluster.cli.local import run_job_here
    from stn_cluster.cluster.make_jobs import grid_job

    data_root = machine.get("data_root")
    job = grid_job(config, data_root=data_root, priority=priority, store=source)
    run_job_here(job, source.uri, machine)


@filtered
def transfer(
    filters: Filters,
    store: StoreOption = None,
    server: ServerOption = None,
    format: FormatOption = "text",
) -> None:
    """Print the errors of cells trained on one distortion and tested on others."""
    _print("transfer", filters, store, server, format)


@filtered
def robustness(
    filters: Filters,
    store: StoreOption = None,
    server: ServerOption = None,
    format: FormatOption = "text",
) -> None:
    """Print the errors of cells by the severity of the test distortion."""
    _print("robustness", filters, store, server, format)


def _print(kind: str, filters: Filters, store: str | None, server: str | None, format: str) -> None:
    from stn_cluster.report import evaluation_tables
    from stn_cluster.store import Store, count_due

    source = store_or_client(store, server)
    if isinstance(source, Store):
        if filters:
            source.select(filters, columns=["key"])  # refuses what matches no cell
        write(getattr(evaluation_tables, kind)(source, format, **filters))
        if due := count_due(source, **filters):
            say(
                f"{due:,} {'evaluation is' if due == 1 else 'evaluations are'} due again, as the "
                "cell was trained anew since"
            )
    else:
        write(getattr(source, kind)(format, **filters))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--severity {text}: numbers from 0 to 3, as in 0.5,1,2") from None
