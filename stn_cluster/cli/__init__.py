"""The `stn-cluster` command. Thin: what it does is done by the modules it calls.

Exit codes: 0 done, 1 cells failed, 2 the input is wrong, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from stn_cluster import __version__
from stn_cluster.cli import local, remote, results
from stn_cluster.cli.progress import DONE, INTERRUPTED, WRONG_INPUT
from stn_cluster.errors import UserError

app = typer.Typer(
    help="Trains and tests the Spatial Transformer Networks grid, and makes its table.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    *(local.run, local.serve),
    *(remote.submit, remote.jobs, remote.status, remote.watch, remote.cancel, remote.retry),
    *(remote.logs, local.rerun, results.results, results.table),
):
    app.command()(command)


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


def main() -> None:
    """Runs the command."""
    run_app(app, "stn-cluster")


def run_app(app: typer.Typer, name: str) -> NoReturn:
    """Runs a command line; a user's error is one line and exit code 2, `--debug` shows where.

    Args:
        app: the commands.
        name: what the line begins with.
    """
    debug = "--debug" in sys.argv[1:]  # anywhere on the line
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        sys.exit(app(standalone_mode=False) or DONE)
    except UserError as error:
        if debug:
            raise
        _refuse(name, str(error))
    except ModuleNotFoundError as error:
        if debug or not _left_out(error.name or ""):
            raise
        extra = "install the extra cluster: pip install '.[cluster]'"
        _refuse(name, f"this needs {error.name}: {extra}")
    except TyperException as error:  # of the command line itself: an unknown option, say
        _refuse(name, f"{error.format_message().rstrip('.')} (see {name} --help)")
    except (typer.Abort, KeyboardInterrupt):  # while nothing ran that could be checkpointed
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone: `stn-cluster table | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)


def _left_out(module: str) -> bool:
    """Whether a light installation, of the client alone, lacks this module."""
    top = module.partition(".")[0]
    return top in {"ray", "torch", "torchvision", "sklearn", "fastapi", "uvicorn"}


def _refuse(name: str, message: str) -> NoReturn:
    typer.echo(f"{name}: {' '.join(message.split())}", err=True)
    sys.exit(WRONG_INPUT)
