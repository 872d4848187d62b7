"""An environment with only a minimal installation: no Ray, no PyTorch."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]


def make_laptop(folder: Path) -> dict[str, str]:
    """Fills a folder with links to the project and its requirements without extras.

    Returns:
        Variables of an environment whose Python, started with -S, finds just these.
    """
    folder.mkdir()
    (folder / "stn_cluster").symlink_to(PROJECT / "stn_cluster")
    for found in _required():
        for file in found.files or ():
            top = file.parts[0]
            target = Path(str(found.locate_file(top)))
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(target)
    return {"PYTHONPATH": str(folder), "PYTHONNOUSERSITE": "1"}


def _required() -> list[Distribution]:
    """All direct and indirect requirements of the project."""
    found: dict[str, Distribution] = {}
    wanted = [(Requirement(text), "") for text in _base()]
    while wanted:
        requirement, extra = wanted.pop()
        del extra
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found:
            continue
        found[name] = distribution(name)
        for text in found[name].requires or ():
            inner = Requirement(text)
            extras = requirement.extras or {""}
            if not inner.marker or any(inner.marker.evaluate({"extra": e}) for e in extras):
                wanted.append((inner, ""))
    return list(found.values())


def _base() -> list[str]:
    """Direct requirements of the project, without extras."""
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])
