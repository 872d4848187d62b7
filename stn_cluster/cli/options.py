"""Options that commands share."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stn_cluster.client.schemas import SERVER_VARIABLE
from stn_cluster.errors import UserError
from stn_cluster.grid import CELL_FILTERS
from stn_cluster.paths import user_path

if TYPE_CHECKING:
    from stn_cluster.client.http_client import Client
    from stn_cluster.store import Store

DATA_VARIABLE = "STN_CLUSTER_DATA"  # environment variable with the folder of data files
StoreOption = Annotated[str | None, typer.Option("--store", help="Result store: folder or URI.")]
IntoOption = Annotated[
    str | None, typer.Option("--into", help="Store for the results; default: the cells' own.")
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE, as in recipe.iterations=800; repeatable."),
]
PluginsOption = Annotated[
    list[str] | None,
    typer.Option("--plugins", help="Module with components of one's own; repeatable."),
]
ServerOption = Annotated[
    str | None,
    typer.Option("--server", help=f"URL of a service; default: {SERVER_VARIABLE}."),
]
PriorityOption = Annotated[int, typer.Option("--priority", help="Higher priorities go first.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job; see `jobs`.")]
Filters = dict[str, Any]  # wanted values of each filter that is used
MachineOptions = dict[str, Any]  # value of each option that is used: fields of `Settings`


def _expanded(path: Path | None) -> Path | None:
    """A path with its `~`, which a shell leaves in `--data-root=~/data`."""
    return None if path is None else user_path(path)


_TYPES: dict[str, type] = {"seed": int}  # types of filters that are not text
_FILTERS: dict[str, Any] = {
    name: Annotated[
        list[_TYPES.get(name, str)] | None,  # type: ignore[misc]
        typer.Option(f"--{name}", metavar=name.upper(), help="Only this one; repeatable."),
    ]
    for name in CELL_FILTERS
}
_MACHINE: dict[str, Any] = {
    "state": Annotated[
        Path | None,
        typer.Option(
            "--state", help="Folder on a local disk for the queue of jobs; default: in the store."
        ),
    ],
    "data_root": Annotated[
        Path | None,
        typer.Option(
            "--data-root",
            envvar=DATA_VARIABLE,
            help="Folder of the data sets' files.",
            callback=_expanded,
        ),
    ],
    "workers": Annotated[
        int | None,
        typer.Option("--workers", help="Maximum; default: one per GPU, or one per core."),
    ],
    "threads_per_worker": Annotated[
        int | None,
        typer.Option("--threads-per-worker", help="Arithmetic threads of a worker on a CPU."),
    ],
    "cells_per_pack": Annotated[
        int | None,
        typer.Option(
            "--cells-per-pack",
            help="Cells in a pack, which a worker trains side by side; default: by device.",
        ),
    ],
    "checkpoint_seconds": Annotated[
        float | None,
        typer.Option(
            "--checkpoint-seconds", help="Time between checkpoints of running cells; default: 30."
        ),
    ],
    "checkpoint_steps": Annotated[
        int | None,
        typer.Option("--checkpoint-steps", help="Steps between checkpoints, if that is sooner."),
    ],
    "no_progress_seconds": Annotated[
        float | None,
        typer.Option(
            "--no-progress-seconds", help="A cell without progress for as long ends; default: 1800."
        ),
    ],
}
DataRootOption = _MACHINE["data_root"]
WorkersOption = _MACHINE["workers"]


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Adds an option per filter to a command, which gets those that were used as `filters`."""
    return _with_options(command, "filters", _FILTERS)


def with_machine(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of a machine to a command, which gets those that were used as `machine`."""
    return _with_options(command, "machine", _MACHINE)


def _with_options(
    command: Callable[..., None], parameter: str, options: Mapping[str, Any]
) -> Callable[..., None]:
    """Replaces a command's parameter by options; the parameter gets those that were used, a dict.

    An option that the command defines itself is not replaced.
    """
    own = inspect.signature(command, eval_str=True).parameters
    added = {name: kind for name, kind in options.items() if name not in own}

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        values = {name: arguments.pop(name) for name in added}
        used = {name: value for name, value in values.items() if value not in (None, [])}
        command(**{parameter: used}, **arguments)

    keyword = inspect.Parameter.KEYWORD_ONLY
    kept = [p.replace(kind=keyword) for p in own.values() if p.name != parameter]
    others = [
        inspect.Parameter(name, keyword, default=None, annotation=kind)
        for name, kind in added.items()
    ]
    with_options.__signature__ = inspect.Signature([*kept, *others])  # type: ignore[attr-defined]
    return with_options


def option_names(used: MachineOptions) -> str:
    """Names of options as a user writes them: '--workers, --data-root'."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in used)


def refuse_with_server(used: MachineOptions) -> None:
    """Refuses options of this machine where a service does the work.

    A data root from the environment is not an option of the command.

    Raises:
        UserError: there are any; the message names them.
    """
    variable = os.environ.get(DATA_VARIABLE)
    given = {
        name: value
        for name, value in used.items()
        if value is not None
        and (name != "data_root" or not variable or value != user_path(variable))
    }
    if given:
        raise UserError(f"{option_names(given)}: not with --server: the service has its own")


def connect(server: str | None) -> Client:
    """Client of the service at `server`, or at the URL in the environment.

    Raises:
        UserError: there is no URL.
    """
    from stn_cluster.client.http_client import Client

    if server is None and not os.environ.get(SERVER_VARIABLE):
        raise UserError(
            f"name the service with --server, as in --server http://head:8267, or set "
            f"{SERVER_VARIABLE}"
        )
    return Client(server)


def store_or_client(store: str | None, server: str | None) -> Store | Client:
    """Opens the store or the service of a command; default: the service in the environment.

    Raises:
        UserError: both are given, or none; or a file of the store cannot be read.
    """
    if store is not None and server is not None:
        raise UserError("--store and --server: name one of them")
    if store is None and (server is not None or os.environ.get(SERVER_VARIABLE)):
        return connect(server)
    from stn_cluster.store import Store

    if store is None:
        raise UserError(
            "--store: name a result store, as in --store results/quickstart; or a service, as in "
            "--server http://head:8267"
        )
    opened = Store.open(store)
    opened.check()
    return opened
