"""Commands that use trained networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stn_cluster.cli.options import DataRootOption
from stn_cluster.cli.output import write
from stn_cluster.paths import user_path


def export(
    cell: Annotated[str, typer.Argument(metavar="LABEL|KEY", help="As in ST-CNN/tps/RTS/seed0.")],
    store: Annotated[str, typer.Option("--store", help="Result store: folder or URI.")],
    output: Annotated[Path, typer.Option("--output", help="Folder; made if it is not there.")],
    seed: Annotated[int | None, typer.Option("--seed", help="Of several with this label.")] = None,
    attempt: Annotated[
        str | None, typer.Option("--attempt", help="Its id; default: the newest that succeeded.")
    ] = None,
    data_root: DataRootOption = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Of several.")] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", help="Of several.")] = None,
) -> None:
    """Write a trained network's weights as safetensors, and its spec as JSON."""
    from stn_cluster.inference.export_models import export_model
    from stn_cluster.store import Store

    for path in export_model(
        Store.open(store),
        cell,
        user_path(output),
        seed=seed,
        attempt=attempt,
        data_root=data_root,
        dataset=dataset,
        recipe=recipe,
    ):
        write(f"{path}\n")
