"""Commands that tell what a config can say: its components, and its schema for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cluster.cli.options import PluginsOption
from stn_cluster.cli.output import write
from stn_cluster.plain_text import one_line

if TYPE_CHECKING:
    from stn_cluster.registry import Entry, Kind

TITLES: dict[Kind, str] = {
    "model": "models",
    "transform": "transforms",
    "distortion": "distortions",
    "dataset": "data sets (dataset)",
    "recipe": "recipes (recipe)",
}


def components(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file whose plug-ins are listed, too.")
    ] = None,
    plugins: PluginsOption = None,
) -> None:
    """List what a config can name: models, transforms, distortions, data sets and recipes."""
    _load(config, plugins)
    write("\n".join(_lines()) + "\n")


def schema(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file whose plug-ins' names are added.")
    ] = None,
    plugins: PluginsOption = None,
) -> None:
    """Print the JSON schema of configs, by which editors complete and check them."""
    from stn_cluster.config_schema import config_schema

    _load(config, plugins)
    write(json.dumps(config_schema(), indent=2) + "\n")


def _load(config: Path | None, plugins: list[str] | None) -> None:
    from stn_cluster.config_file import load_config
    from stn_cluster.registry import load_plugins

    load_plugins(plugins or ())
    if config is not None:
        load_plugins(load_config(config).plugins, [config.parent])


def _lines() -> Iterator[str]:
    """A line on each component and variant, under its field in a config."""
    from stn_cluster.registry import CANVAS_PIXELS, KINDS, lookup, names

    entries = {kind: [lookup(kind, name) for name in names(kind)] for kind in KINDS}
    rows = {kind: [row for entry in entries[kind] for row in _rows(entry)] for kind in KINDS}
    width = max(len(name) for named in rows.values() for name, _ in named)
    for kind, named in rows.items():
        yield f"{TITLES[kind]}:"
        yield from (f"  {name:{width}}  {text}".rstrip() for name, text in named)
        if kind == "distortion":
            smallest, largest = CANVAS_PIXELS
            yield f"  with a canvas of {smallest} to {largest} pixels: as in R:42, or P:xy-42"


def _rows(entry: Entry) -> Iterator[tuple[str, str]]:
    origin = f" ({entry.plugin})" if entry.plugin else ""
    variants = entry.shown_variants
    canvas = f"; {entry.variants[0][1]} pixels" if entry.kind == "distortion" else ""
    yield one_line(entry.name), one_line(f"{entry.summary}{canvas}{origin}").lstrip("; ")
    for index, (variant, pixels) in enumerate(variants):
        default = f", which plain {entry.name} is" if index == 0 else ""
        yield one_line(f"{entry.name}:{variant}"), one_line(f"{pixels} pixels{default}")
