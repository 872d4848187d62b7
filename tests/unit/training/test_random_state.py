"""Random state: a cell draws its own numbers, and others theirs."""

from __future__ import annotations

import pytest
import torch

from stn_cluster.training.random_state import RandomState

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
    assert not state.draws_on_device
    drawn(state, device)
    assert state.draws_on_device == (device == "cuda")
