"""Number of trainable parameters of a recipe's networks."""

from __future__ import annotations

from typing import Any

from stn_cluster.config_file import parse_config
from stn_cluster.recipes import Recipe
from stn_cluster.registry import resolve
from stn_cluster.training.building import build_model


def parameters_of(recipe: str | dict[str, Any]) -> dict[tuple[str, str, int], int]:
    """Trainable parameters of all 8 rows by model, transform and canvas (28 or 42 pixels)."""
    cells = resolve(parse_config({"recipe": recipe, "distortions": ["R", "RTS"]}))
    networks = {
        (cell.model, cell.transform, cell.canvas): build_model(
            cell, Recipe.model_validate(cell.settings), n_classes=10
        )
        for cell in cells
    }
    return {
        row: sum(p.numel() for p in network.parameters() if p.requires_grad)
        for row, network in networks.items()
    }
