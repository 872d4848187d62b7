"""stn-cluster: how a vision model stands up to geometric distortion, as a batch service on Ray."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stn_cluster.errors import StoreError, UserError
from stn_cluster.registry import (
    register_dataset,
    register_distortion,
    register_model,
    register_recipe,
    register_transform,
)

if TYPE_CHECKING:
    from stn_cluster.client.http_client import Client as Client
    from stn_cluster.cluster.run_evaluations import evaluate as evaluate
    from stn_cluster.cluster.run_local import run_grid as run_grid
    from stn_cluster.inference.apply_models import distort as distort
    from stn_cluster.inference.apply_models import predict as predict
    from stn_cluster.inference.apply_models import transformations as transformations
    from stn_cluster.inference.trained_models import load_model as load_model
    from stn_cluster.report.comparison import compare as compare
    from stn_cluster.report.table import comparison_table as comparison_table
    from stn_cluster.store import load_evaluations as load_evaluations
    from stn_cluster.store import load_predictions as load_predictions
    from stn_cluster.store import load_results as load_results
    from stn_cluster.store import load_verifications as load_verifications

__version__ = "0.1.0"

__all__ = [  # and what loads torch: load_model, predict, distort, transformations
    "Client",
    "StoreError",
    "UserError",
    "__version__",
    "compare",
    "comparison_table",
    "evaluate",
    "load_evaluations",
    "load_predictions",
    "load_results",
    "load_verifications",
    "register_dataset",
    "register_distortion",
    "register_model",
    "register_recipe",
    "register_transform",
    "run_grid",
]

# Imported on first use: neither reading results nor registering components needs torch or ray.
_LAZY = {
    "load_results": "stn_cluster.store",
    "load_evaluations": "stn_cluster.store",
    "load_predictions": "stn_cluster.store",
    "load_verifications": "stn_cluster.store",
    "comparison_table": "stn_cluster.report.table",
    "compare": "stn_cluster.report.comparison",
    "evaluate": "stn_cluster.cluster.run_evaluations",
    "run_grid": "stn_cluster.cluster.run_local",
    "Client": "stn_cluster.client.http_client",
    "load_model": "stn_cluster.inference.trained_models",
    "predict": "stn_cluster.inference.apply_models",
    "distort": "stn_cluster.inference.apply_models",
    "transformations": "stn_cluster.inference.apply_models",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
