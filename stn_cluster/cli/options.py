"""The options that commands share."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stn_cluster.errors import UserError
from stn_cluster.server.wire import SERVER_VARIABLE

if TYPE_CHECKING:
    from stn_cluster.server.client import Client
    from stn_cluster.store import Store

StoreOption = Annotated[str | None, typer.Option("--store", help="Result store: folder or URI.")]
IntoOption = Annotated[
    str | None, typer.Option("--into", help="Store to train them in; default: the one they are of.")
]
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
PackOption = Annotated[
    int | None,
    typer.Option("--cells-per-pack", help="At most, on a worker; default: by device and cell."),
]
CheckpointOption = Annotated[
    float, typer.Option("--checkpoint-seconds", help="Between checkpoints of running cells.")
]
CheckpointStepsOption = Annotated[
    int | None, typer.Option("--checkpoint-steps", help="Or every so many steps, if sooner.")
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
Filters = dict[str, Any]  # of each, the values that are wanted
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


def connect(server: str | None) -> Client:
    """The client of the service that is named, or that the environment names.

    Raises:
        UserError: neither names one.
    """
    from stn_cluster.server.client import Client

    if server is None and not os.environ.get(SERVER_VARIABLE):
        raise UserError(
            f"name the service with --server, as in --server http://head:8267, or set "
            f"{SERVER_VARIABLE}"
        )
    return Client(server)


def place(store: str | None, server: str | None) -> Store | Client:
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
