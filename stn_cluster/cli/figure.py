"""Command that draws a figure of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stn_cluster.cli.options import DataRootOption, Filters, filtered
from stn_cluster.cli.output import write
from stn_cluster.errors import UserError, unknown

FORMATS = ("png", "svg", "pdf")


@filtered
def figure(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="forest (a column with intervals), matrix, curves, confusion, hardest (images), "
            "saved (images that only transformers save or lose), pose, severity, transfer, "
            "transformations (what those of the cells do).",
        ),
    ],
    store: Annotated[str, typer.Option("--store", help="Result store: folder or URI.")],
    output: Annotated[Path, typer.Option("--output", help="File: .png, .svg or .pdf.")],
    filters: Filters,
    cells: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LABEL]...", help="Cells, or their keys: of transformations."),
    ] = None,
    choose: Annotated[
        str,
        typer.Option("--choose", help="Images of transformations: random, worst or improved."),
    ] = "random",
    count: Annotated[int, typer.Option("--count", help="Number of its images.")] = 6,
    image: Annotated[
        list[int] | None, typer.Option("--image", help="This one, by its index; repeatable.")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Light on dark.")] = False,
    data_root: DataRootOption = None,
) -> None:
    """Draw a figure of a store's results."""
    if output.suffix.removeprefix(".").lower() not in FORMATS:
        raise UserError(f"--output: a file that ends in .png, .svg or .pdf, not {str(output)!r}")
    from stn_cluster.figures.kinds import KINDS, Wanted
    from stn_cluster.figures.load_seen import Choice
    from stn_cluster.figures.theme import DARK, LIGHT
    from stn_cluster.paths import user_path
    from stn_cluster.store import Store

    if kind not in KINDS:
        raise UserError(unknown("figure", kind, KINDS))
    if cells and kind != "transformations":
        raise UserError(f"figure {kind} takes no labels; choose by filters, as --model CNN")
    choice = Choice(choose, count, tuple(image or ()))
    if kind != "transformations" and choice != Choice():
        raise UserError(
            f"figure {kind}: --choose, --count and --image are of `figure transformations`"
        )
    opened = Store.open(store)
    opened.check()
    theme = DARK if dark else LIGHT
    drawn = KINDS[kind](Wanted(opened, filters, data_root, theme, tuple(cells or ()), choice))
    path = user_path(output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path, dpi=200)
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written: {error.strerror}") from error
    write(f"{output}\n")
