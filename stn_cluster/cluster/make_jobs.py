"""A grid config as a job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stn_cluster.config_file import load_config, parse_config
from stn_cluster.grid import GridConfig
from stn_cluster.queue.jobs import Job, new_job_id
from stn_cluster.registry import resolve


def grid_job(
    config: GridConfig | dict[str, Any] | str | Path,
    *,
    overrides: Sequence[str] = (),
    job_id: str | None = None,
    force: bool = False,
    priority: int = 0,
) -> Job:
    """The job of all cells that a config asks for.

    Args:
        config: a YAML file, its fields as a dict, or a `GridConfig`.
        overrides: 'FIELD=VALUE', for a file.
        job_id: its id; default: the config's name and the time.
        force: train anew what the store already holds.
        priority: the larger, the sooner.

    Raises:
        UserError: a rule of the grid is broken; the message names the file and the field.
    """
    folder = None
    if isinstance(config, str | Path):
        source, folder = str(config), Path(config).parent
        config = load_config(config, overrides)
    elif not isinstance(config, GridConfig):
        config = parse_config(config)
        source = config.name
    else:
        source = config.name
    return Job(
        job_id=job_id or new_job_id(config.name),
        cells=tuple(resolve(config, source=source, folder=folder)),
        name=config.name,
        config=config.model_dump_json(exclude_defaults=True),
        folder=str(folder.resolve()) if folder else None,
        force=force,
        priority=priority,
    )
