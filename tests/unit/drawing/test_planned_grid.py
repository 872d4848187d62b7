"""Plans of configs that somebody types into the page."""

from __future__ import annotations

import json

import pytest

from stn_cluster.drawing.planned_grid import plan_config
from stn_cluster.drawing.remembered_store import RememberedStore
from stn_cluster.drawing.tasks import Workplace
from stn_cluster.errors import UserError
from stn_cluster.store import Store


@pytest.fixture
def place(store: Store) -> Workplace:
    return Workplace(RememberedStore.open(store.uri), None)


def test_a_grid_that_would_fill_the_memory_is_not_planned(place: Workplace) -> None:
    seeds = ", ".join(map(str, range(100_000)))
    with pytest.raises(UserError, match="6,400,000 cells, at most 200,000 in a job"):
        plan_config(place, {"yaml": f"{{recipe: smoke, seeds: [{seeds}]}}", "workers": None})


@pytest.mark.parametrize(
    "yaml", ["[" * 20_000, "a: " * 20_000, "? " * 20_000, "\x00", "&a [*a]", ""]
)
def test_what_is_no_config_is_said(place: Workplace, yaml: str) -> None:
    with pytest.raises(UserError):
        plan_config(place, {"yaml": yaml, "workers": None})


def test_a_plug_in_is_the_servers_alone(place: Workplace) -> None:
    with pytest.raises(UserError, match="only the server names plug-ins"):
        plan_config(place, {"yaml": "{recipe: smoke, plugins: [os]}", "workers": None})


def test_a_config_has_a_plan(place: Workplace) -> None:
    asked = "{recipe: smoke, models: [FCN], transforms: [none], distortions: [R]}"
    found = json.loads(plan_config(place, {"yaml": asked, "workers": None}))
    assert found["config"]["models"] == ["FCN"]
