"""The `stn-cluster` command, a thin layer over other modules.

Exit codes: 0 done, 1 cells failed, 2 the input is wrong, 3 a check did not hold, 130 interrupted.
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
    *(local.plan, local.run, local.serve),
    *(remote.submit, remote.jobs, remote.status, remote.watch, remote.cancel, remote.retry),
    *(remote.logs, local.rerun, results.results, results.table, results.compare),
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    del debug  # run_app handles it, as it handles the exceptions
    if version:
        typer.echo(f"stn-cluster {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Runs the command."""
    run_app(app, "stn-cluster")


def run_app(app: typer.Typer, name: str) -> NoReturn:
    """Runs a command line; a UserError becomes one line and exit code 2, with `--debug` a
    traceback.

    Args:
        app: the commands.
        name: name of the program, at the beginning of the line.
    """
    debug = "--debug" in sys.argv[1:]  # at any position
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        sys.exit(app(standalone_mode=False) or DONE)
    except UserError as error:
        if debug:
            raise
        _exit_with_error(name, str(error))
    except ModuleNotFoundError as error:
        if debug or not _is_optional(error.name or ""):
            raise
        extra = "install the extra cluster: pip install '.[cluster]'"
        _exit_with_error(name, f"this needs {error.name}: {extra}")
    except TyperException as error:  # an error in the command line, such as an unknown option
        _exit_with_error(name, f"{error.format_message().rstrip('.')} (see {name} --help)")
    except (typer.Abort, KeyboardInterrupt):  # while nothing ran that could be checkpointed
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has exited: `stn-cluster table | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)


def _is_optional(module: str) -> bool:
    """Whether a minimal installation, with only the client, lacks this module."""
    top = module.partition(".")[0]
    return top in {"ray", "torch", "torchvision", "sklearn", "fastapi", "uvicorn"}


def _exit_with_error(name: str, message: str) -> NoReturn:
    typer.echo(f"{name}: {' '.join(message.split())}", err=True)
    sys.exit(WRONG_INPUT)
