"""Random state: a cell draws its own numbers, and others theirs."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from stn_cluster.data.random_state import RandomState
from stn_cluster.training.checkpoints import from_bytes, to_bytes

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]


def drawn(state: RandomState, device: str) -> list[float]:
    with state.in_place():
        return [*torch.rand(2).tolist(), *torch.rand(2, device=device).tolist()]


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_drawn_depends_on_the_seed_alone_and_others_draw_as_before(device: str) -> None:
    torch.manual_seed(1)
    undisturbed = [torch.rand(1, device=device).item() for _ in range(3)]
    torch.manual_seed(1)
    one, other = (RandomState(seed, torch.device(device)) for seed in (5, 6))
    told = []
    for _ in range(3):
        drawn(one, device), drawn(other, device)
        told.append(torch.rand(1, device=device).item())
    assert told == undisturbed
    again = RandomState(5, torch.device(device))
    assert [drawn(again, device) for _ in range(4)][3] == drawn(one, device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_state_goes_on_where_it_was_taken(device: str) -> None:
    state = RandomState(5, torch.device(device))
    drawn(state, device)
    taken = state.state_dict()
    expected = [drawn(state, device) for _ in range(2)]
    resumed = RandomState(0, torch.device(device))
    resumed.load_state_dict(taken)
    assert [drawn(resumed, device) for _ in range(2)] == expected


@pytest.mark.parametrize("device", DEVICES)
def test_draws_on_a_gpu_are_noticed(device: str) -> None:
    state = RandomState(5, torch.device(device))
    with state.in_place():
        torch.rand(3)
    assert state.drew == set()
    drawn(state, device)
    assert state.drew == ({"gpu"} if device == "cuda" else set())


USER_CODE = {
    "cpu": lambda: torch.rand(3),
    "python": lambda: [random.random(), random.gauss(0, 1)],
    "numpy": lambda: [*np.random.rand(2), *np.random.randn(2)],
}


@pytest.mark.parametrize("source", USER_CODE)
def test_user_code_draws_from_every_generator_of_the_process_as_if_it_were_alone(
    source: str,
) -> None:
    draw = USER_CODE[source]

    def drawn_by(state: RandomState) -> str:
        with state.in_place():
            return str(draw())

    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    undisturbed = str([draw() for _ in range(2)])
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    states = [RandomState(5, torch.device("cpu"), user_code=True) for _ in range(2)]
    outside = [draw()]
    first, second = ([drawn_by(state) for _ in range(3)] for state in states)
    outside.append(draw())
    assert str(outside) == undisturbed
    assert first == second
    assert len(set(first)) == 3
    assert states[0].drew == {source}
    resumed = RandomState(0, torch.device("cpu"), user_code=True)
    resumed.load_state_dict(from_bytes(to_bytes({"random": states[0].state_dict()}))["random"])
    assert drawn_by(resumed) == drawn_by(states[0])
    with states[0].in_place():
        pass
    assert states[0].drew == set()


def test_a_state_that_was_saved_without_pythons_and_numpys_is_restored_as_far_as_it_goes() -> None:
    old = RandomState(5, torch.device("cpu"))
    drawn(old, "cpu")
    state = RandomState(7, torch.device("cpu"), user_code=True)
    state.load_state_dict(old.state_dict())
    assert drawn(state, "cpu") == drawn(old, "cpu")
    with state.in_place():
        assert random.random() == random.Random(7).random()
