"""torchvision's classifiers as components: `torchvision:resnet18`. Imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

PREFIX = "torchvision:"
COST = 90.0  # resnet18's; see `Entry.cost`
_MODULE = "stn_cluster.stn.torchvision_models"


def is_torchvision(model: str) -> bool:
    """Whether a model of this name is torchvision's."""
    return model.startswith(PREFIX)


@cache
def torchvision_names() -> tuple[str, ...]:
    """Names of all classifiers, with the prefix; empty where torchvision is not installed."""
    try:
        module = importlib.import_module(_MODULE)
        return tuple(PREFIX + name for name in module.model_names())
    except ModuleNotFoundError:
        return ()


def torchvision_builder(name: str) -> Callable[[Any], Any]:
    """Function that builds a classifier for a `Task`."""

    def build(task: Any) -> Any:
        return importlib.import_module(_MODULE).build(name.removeprefix(PREFIX), task)

    return build
