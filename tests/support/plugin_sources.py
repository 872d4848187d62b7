"""Sources of plug-ins, written to folders."""

from __future__ import annotations

from pathlib import Path

from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell
from stn_cluster.registry import lookup, resolve


def write(folder: Path, name: str, content: str | bytes = "") -> Path:
    """Writes a file below a folder, which is made if necessary."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def a_model(name: str, before: str = "", body: str = "return None") -> str:
    """Source that registers a model: statements before it, and its function's body."""
    lines = body.replace("\n", "\n    ")
    return (
        f"from stn_cluster import register_model\n{before}\n"
        f"@register_model({name!r})\ndef build(task):\n    {lines}\n"
    )


def cells_of(folder: Path, *plugins: str, **fields: object) -> list[Cell]:
    """Cells of a config in a folder, of one distortion and of the models named."""
    config = {"recipe": "smoke", "distortions": ["R"], "plugins": list(plugins), **fields}
    return resolve(parse_config(config), folder=folder)


def key_of(folder: Path, plugin: str = "mine", model: str = "Mine") -> str:
    """Key of a plug-in's model on R."""
    [cell] = cells_of(folder, plugin, models=[model])
    return cell.key


def built(model: str = "Mine") -> object:
    """What a registered model's function returns."""
    return lookup("model", model).load()(None)
