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

if TYPE_CHECKING:
    from stn_cluster.client.http_client import Client
    from stn_cluster.store import Store

StoreOption = Annotated[str | None, typer.Option("--store", help="Result store: folder or URI.")]
IntoOption = Annotated[
    str | None, typer.Option("--into", help="Store to train them in; default: the one they are of.")
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE, as in recipe.iterations=800; repeatable."),
]
ServerOption = Annotated[
    str | None,
    typer.Option("--server", help=f"URL of a service; default: {SERVER_VARIABLE}."),
]
PriorityOption = Annotated[int, typer.Option("--priority", help="The larger, the sooner.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id; see `jobs`.")]
Filters = dict[str, Any]  # of each filter that is used, the wanted values
MachineOptions = dict[str, Any]  # of each option that is used, its value: fields of `Settings`

_KINDS: dict[str, type] = {"seed": int}  # of filters that are no text
_FILTERS: dict[str, Any] = {
    name: Annotated[
        list[_KINDS.get(name, str)] | None,  # type: ignore[misc]
        typer.Option(f"--{name}", metavar=name.upper(), help="Only this one; repeatable."),
    ]
    for name in CELL_FILTERS
}
_MACHINE: dict[str, Any] = {
    "state": Annotated[
        Path | None, typer.Option("--state", help="Folder on a local disk; default: in the store.")
    ],
    "data_root": Annotated[
        Path | None,
        typer.Option("--data-root", envvar="STN_CLUSTER_DATA", help="Where MNIST/raw is, or goes."),
    ],
    "workers": Annotated[
        int | None, typer.Option("--workers", help="At most; default: one a GPU, or one a core.")
    ],
    "threads_per_worker": Annotated[
        int | None,
        typer.Option("--threads-per-worker", help="Of arithmetic, on a CPU."),
    ],
    "cells_per_pack": Annotated[
        int | None,
        typer.Option("--cells-per-pack", help="At most, on a worker; default: by device and cell."),
    ],
    "checkpoint_seconds": Annotated[
        float | None,
        typer.Option(
            "--checkpoint-seconds", help="Between checkpoints of running cells; default: 30."
        ),
    ],
    "checkpoint_steps": Annotated[
        int | None, typer.Option("--checkpoint-steps", help="Or every so many steps, if sooner.")
    ],
}
DataRootOption = _MACHINE["data_root"]


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command an option for each filter; it gets those that were used as `filters`."""
    return _with_options(command, "filters", _FILTERS)


def with_machine(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of a machine; it gets those that were used as `machine`."""
    return _with_options(command, "machine", _MACHINE)


def _with_options(
    command: Callable[..., None], parameter: str, options: Mapping[str, Any]
) -> Callable[..., None]:
    """Puts options in the place of a command's parameter, which gets the used ones as a dict.

    An option that the command has itself stays its own.
    """
    own = inspect.signature(command, eval_str=True).parameters
    added = {name: kind for name, kind in options.items() if name not in own}

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in added}
        used = {name: value for name, value in given.items() if value not in (None, [])}
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
    """'--workers, --data-root': the options as a user gives them."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in used)


def connect(server: str | None) -> Client:
    """The client of the service that is named, or that the environment names.

    Raises:
        UserError: neither names one.
    """
    from stn_cluster.client.http_client import Client

    if server is None and not os.environ.get(SERVER_VARIABLE):
        raise UserError(
            f"name the service with --server, as in --server http://head:8267, or set "
            f"{SERVER_VARIABLE}"
        )
    return Client(server)


def store_or_client(store: str | None, server: str | None) -> Store | Client:
    """The store or the service that a command is about; without either, the environment's service.

    Raises:
        UserError: both are named, or none is; or the store is not one whose files can be read.
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
