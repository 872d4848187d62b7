"""Networks that cells are built as."""

from __future__ import annotations

from stn_cluster.config_file import parse_config
from stn_cluster.recipes import Recipe
from stn_cluster.registry import resolve
from stn_cluster.training.building import build_model


def test_no_network_of_the_fast_recipe_has_more_parameters_than_the_papers() -> None:
    cells = resolve(parse_config({"dataset": "mnist", "recipe": "fast"}))
    networks = {
        cell.label: build_model(cell, Recipe.model_validate(cell.settings), 10) for cell in cells
    }
    sizes = {
        label: sum(parameter.numel() for parameter in network.parameters())
        for label, network in networks.items()
    }
    assert len(sizes) == 32
    assert {label: size for label, size in sizes.items() if size > 400_000} == {}
