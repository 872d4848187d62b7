"""Resources: which workers nodes can hold, and the options with which Ray is asked for one."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stn_cluster.cluster.placement import (
    Node,
    described,
    parse_nodes,
    required,
    slots,
    worker_options,
)
from stn_cluster.cluster.settings import Settings
from stn_cluster.grid import LEAST_SHARE, Needs

CPU = Settings(store="store", state="state", threads_per_worker=3)
GPU = Settings(store="store", state="state", threads_per_worker=3, gpu=True)
steady = settings(derandomize=True, deadline=None)

UNIT = 10_000  # Ray counts resources in parts of this
names = st.sampled_from(["CPU", "GPU", "big", "accelerator_type:H100"])
amounts = st.one_of(st.integers(1, 8).map(float), st.integers(1, UNIT).map(lambda n: n / UNIT))
shares = amounts.filter(lambda amount: amount >= LEAST_SHARE)


@pytest.mark.parametrize(
    ("needs", "service", "options"),
    [
        ({}, CPU, {"num_cpus": 3, "num_gpus": 0}),
        ({}, GPU, {"num_cpus": 0, "num_gpus": 1}),
        ({"num_gpus": 0}, GPU, {"num_cpus": 3, "num_gpus": 0}),
        ({"num_gpus": 0.5}, CPU, {"num_cpus": 0, "num_gpus": 0.5}),
        ({"num_gpus": 2, "num_cpus": 4}, CPU, {"num_cpus": 4, "num_gpus": 2}),
        ({"num_cpus": 0}, CPU, {"num_cpus": 0, "num_gpus": 0}),
        ({"num_cpus": 1}, GPU, {"num_cpus": 1, "num_gpus": 1}),
        (
            {"accelerator_type": "H100"},
            CPU,
            {"num_cpus": 0, "num_gpus": 1, "accelerator_type": "H100"},
        ),
        (
            {"accelerator_type": "H100", "num_gpus": 0.25},
            GPU,
            {"num_cpus": 0, "num_gpus": 0.25, "accelerator_type": "H100"},
        ),
        ({"resources": {"big": 2}}, CPU, {"num_cpus": 3, "num_gpus": 0, "resources": {"big": 2}}),
    ],
)
def test_fields_that_needs_leave_out_are_the_settings(
    needs: dict[str, Any], service: Settings, options: dict[str, Any]
) -> None:
    assert worker_options(Needs.model_validate(needs), service) == options


@steady
@given(
    num_cpus=st.none() | shares,
    num_gpus=st.none() | shares,
    accelerator_type=st.none() | st.just("H100"),
    resources=st.dictionaries(st.sampled_from(["big", "x-1"]), amounts, max_size=2),
    service=st.sampled_from([CPU, GPU]),
)
def test_ray_accepts_the_options_of_any_needs(service: Settings, **needs: Any) -> None:
    class Worker:
        pass

    options = worker_options(Needs.model_validate(needs), service)
    ray.remote(Worker).options(**options)  # ValueError where it does not


@pytest.mark.parametrize(
    ("needs", "service", "amounts"),
    [
        ({"num_cpus": 1, "num_gpus": 0}, GPU, {"CPU": 1}),
        ({}, CPU, {"CPU": 3}),
        ({"num_cpus": 0, "num_gpus": 0.5}, CPU, {"GPU": 0.5}),
        ({"num_cpus": 0, "num_gpus": 0}, GPU, {}),
        ({"num_cpus": 2, "num_gpus": 0, "resources": {"big": 3}}, GPU, {"CPU": 2, "big": 3}),
        ({"accelerator_type": "H100"}, CPU, {"GPU": 1, "accelerator_type:H100": 0.001}),
    ],
)
def test_needs_are_amounts_of_a_nodes_resources_and_nothing_is_no_amount(
    needs: dict[str, Any], service: Settings, amounts: dict[str, float]
) -> None:
    assert required(Needs.model_validate(needs), service) == amounts


def node(alive: bool = True, **resources: float) -> Node:
    return Node("id", alive, resources)


@pytest.mark.parametrize(
    ("needed", "nodes", "expected"),
    [
        ({"CPU": 1}, [], 0),
        ({"CPU": 1}, [node(CPU=4), node(CPU=2)], 6),
        ({"CPU": 3}, [node(CPU=4), node(CPU=2), node(CPU=6)], 3),
        ({"CPU": 1}, [node(CPU=4, alive=False), node(CPU=2)], 2),
        ({"GPU": 0.25}, [node(CPU=4), node(GPU=2)], 8),
        ({"GPU": 1, "CPU": 4}, [node(CPU=4), node(GPU=2)], 0),
        ({"GPU": 1, "CPU": 4}, [node(CPU=9, GPU=8)], 2),
        ({"big": 1}, [node(CPU=64)], 0),
        ({}, [node(), node()], 2),
    ],
)
def test_slots_are_counted_on_each_living_node_by_itself(
    needed: dict[str, float], nodes: list[Node], expected: int
) -> None:
    assert slots(needed, nodes) == expected


@steady
@given(
    needed=st.dictionaries(names, amounts, min_size=1),
    nodes=st.lists(st.dictionaries(names, amounts), max_size=4),
)
@example(needed={"big": 0.2}, nodes=[{"big": 0.6}])
def test_slots_are_counted_as_ray_counts(
    needed: dict[str, float], nodes: list[dict[str, float]]
) -> None:
    def held(resources: dict[str, float]) -> int:
        """In whole units, where nothing is rounded."""
        have = {name: round(resources.get(name, 0) * UNIT) for name in needed}
        return min(have[name] // round(amount * UNIT) for name, amount in needed.items())

    found = slots(needed, [Node("id", True, resources) for resources in nodes])
    assert found == sum(map(held, nodes))


def test_resources_are_described_as_people_say_them() -> None:
    needed = {"CPU": 2.0, "GPU": 0.5, "accelerator_type:H100": 0.001, "big": 3.0}
    assert described(needed) == "2 CPU, 0.5 GPU, accelerator_type:H100, 3 big"


def test_nodes_of_ray_are_parsed_with_those_that_died() -> None:
    rows = [
        {"NodeID": "a", "Alive": True, "Resources": {"CPU": 4.0}, "NodeName": "x"},
        {"NodeID": "b", "Alive": False, "Resources": {}},
        {"NodeID": "c", "Alive": False},
    ]
    assert parse_nodes(rows) == [
        Node("a", True, {"CPU": 4.0}),
        Node("b", False, {}),
        Node("c", False, {}),
    ]
    assert slots({"CPU": 1}, parse_nodes(rows)) == 4
