"""The `stn-cluster` command, a thin layer over other modules.

Exit codes: 0 done, 1 cells failed, 2 the input or the machine is wrong, 3 a check did not hold,
70 an error of its own, 130 interrupted.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from stn_cluster import __version__
from stn_cluster.cli import (
    compact,
    describe,
    evaluating,
    figure,
    local,
    prune,
    remote,
    report,
    results,
    trained,
    verify,
    view,
)
from stn_cluster.cli.output import ReaderGoneError, say, standard_streams
from stn_cluster.cli.progress import BUG, DONE, INTERRUPTED, WRONG_INPUT
from stn_cluster.cluster.signals import interrupt_for_good
from stn_cluster.errors import UserError


class _Commands(TyperGroup):
    """Commands whose list has the first sentence on each as a whole, however wide the terminal."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Overrides typer's, which cuts sentences."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, _sentence(c.help or "")) for name, c in commands if c])


def _sentence(text: str) -> str:
    return f"{_line(text).partition('. ')[0].rstrip('.')}."


app = typer.Typer(
    help="Trains and tests the Spatial Transformer Networks grid, and makes its table.",
    cls=_Commands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    *(local.plan, local.run, local.serve),
    *(remote.submit, remote.jobs, remote.status, remote.watch, remote.cancel, remote.retry),
    *(remote.logs, local.rerun, results.results, results.table, results.compare, figure.figure),
    *(report.report, evaluating.evaluate, evaluating.transfer, evaluating.robustness),
    *(
        verify.verify,
        compact.compact,
        prune.prune,
        view.view,
        trained.export,
        describe.components,
        describe.schema,
    ),
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
    interrupt_for_good()
    run_app(app, "stn-cluster")


def run_app(app: typer.Typer, name: str) -> NoReturn:
    """Runs a command line; a UserError becomes one line and exit code 2, with `--debug` a
    traceback, too.

    Args:
        app: the commands.
        name: name of the program, at the beginning of the line.
    """
    debug = "--debug" in sys.argv[1:]  # at any position
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    with standard_streams():
        code = _call(app, name, debug)
    sys.exit(code)


def _call(app: typer.Typer, name: str, debug: bool) -> int:
    """Runs a command line; returns its exit code: 1 only if the command says that cells failed."""
    try:
        return app(standalone_mode=False) or DONE
    except ReaderGoneError:
        return DONE
    except SystemExit as error:
        if not _completes():
            return _ended(error, name, debug)
        return int(error.code or DONE)  # typer's end of what a shell asks for
    except (typer.Abort, KeyboardInterrupt):  # while nothing ran that could be checkpointed
        return INTERRUPTED
    except TyperException as error:  # an error in the command line, such as an unknown option
        say(f"{name}: {_line(error.format_message()).rstrip('.')} (see {name} --help)")
        return WRONG_INPUT
    except Exception as error:
        return _ended(error, name, debug)


def _completes() -> bool:
    """Whether a shell asks what may come next, or for the script by which it asks."""
    asks = any(argument.endswith("-completion") for argument in sys.argv[1:2])
    return asks or any(re.fullmatch("_[A-Z_]+_COMPLETE", name) for name in os.environ)


def _ended(error: BaseException, name: str, debug: bool) -> int:
    """Says what ended the command; returns its exit code."""
    reason = _reason(error)
    if debug or reason is None:
        say("".join(traceback.format_exception(error)).rstrip())
    say(f"{name}: {_line(reason or 'an error of its own, please report it')}")
    return BUG if reason is None else WRONG_INPUT


def _reason(error: BaseException) -> str | None:
    """What is wrong with the input or the machine; None for an error of our own."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and _is_optional(error.name or ""):
        return f"this needs {error.name}: install the extra cluster: pip install '.[cluster]'"
    if isinstance(error, OSError):  # a disk that is full, a file of another user
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, MemoryError):
        return f"there is not enough memory here: {error}"
    return None


def _is_optional(module: str) -> bool:
    """Whether a minimal installation, with only the client, lacks this module."""
    top = module.partition(".")[0]
    return top in {"ray", "torch", "torchvision", "safetensors", "sklearn", "fastapi", "uvicorn"}


def _line(text: str) -> str:
    return " ".join(text.split())
