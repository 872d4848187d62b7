"""The flat optimisers against PyTorch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stn_cluster.recipes import Recipe
from stn_cluster.stn.transformer import SpatialTransformer
from stn_cluster.training.optimizers import ALIGNED, make_optimizer

STEPS = 25


def small_model(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    transformer = SpatialTransformer(1, (28, 28), localisation="linear")
    head = nn.Sequential(nn.Flatten(), nn.Linear(784, 7), nn.Tanh(), nn.Linear(7, 3))
    return nn.Sequential(transformer, head).to(dtype)


def recipe(**fields: Any) -> Recipe:
    rate = 2**-7  # a rate without a rounding error, so that only the arithmetic is compared
    given = {"iterations": STEPS, "batch_size": 8, "learning_rate": rate, "schedule": "step"}
    return Recipe.model_validate(given | {"step_every": 10, "step_factor": 0.5} | fields)


def batches() -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(1)
    return [
        (torch.rand(8, 1, 28, 28, generator=random), torch.randint(3, (8,), generator=random))
        for _ in range(STEPS)
    ]


def theirs(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """PyTorch's own optimiser with one group per parameter, as the recipe defines it."""
    groups: list[dict[str, Any]] = []
    for name, parameter in model.named_parameters():
        part, _, layer = name.partition(".")
        spared = recipe.decay == "weights" and ("bias" in layer or "theta" in layer)
        groups.append(
            {
                "params": [parameter],
                "factor": recipe.localisation_rate if part == "0" else 1.0,
                "weight_decay": 0.0 if spared else recipe.weight_decay,
            }
        )
    if recipe.optimizer == "adamw":
        betas = (0.9, recipe.beta2)
        return torch.optim.AdamW(groups, lr=1.0, betas=betas, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        groups, lr=1.0, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


@pytest.mark.parametrize(("dtype", "steps"), [(torch.float32, 3), (torch.float64, STEPS)], ids=str)
@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
        {"optimizer": "adamw"},
        {"optimizer": "adamw", "weight_decay": 0.1, "localisation_rate": 0.125},
        {"optimizer": "adamw", "beta2": 0.9},
        {"optimizer": "adamw", "weight_decay": 0.5, "decay": "weights", "localisation_rate": 0.125},
        {"optimizer": "sgd", "weight_decay": 0.01, "decay": "weights"},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_training_goes_as_with_pytorchs_own(
    fields: dict[str, Any], dtype: torch.dtype, steps: int
) -> None:
    settings = recipe(**fields)
    ours, reference = small_model(dtype), small_model(dtype)
    optimizer, other = make_optimizer(ours, settings), theirs(reference, settings)
    for step, (images, labels) in enumerate(batches()[:steps]):
        optimizer.set_lr(settings.lr_at(step))
        optimizer.zero_grad()
        nn.functional.cross_entropy(ours(images.to(dtype)), labels).backward()
        optimizer.step()
        for group in other.param_groups:
            group["lr"] = settings.lr_at(step) * group["factor"]
        other.zero_grad()
        nn.functional.cross_entropy(reference(images.to(dtype)), labels).backward()
        other.step()
    start = small_model(dtype)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, reference.state_dict()[name])
        assert not torch.equal(value, start.state_dict()[name])


def test_parameters_keep_their_values_and_lie_aligned_in_their_group() -> None:
    model, before = small_model(), small_model()
    groups = make_optimizer(model, recipe(optimizer="sgd")).groups
    for name, value in model.state_dict().items():
        assert torch.equal(value, before.state_dict()[name])
    for parameter in model.parameters():
        [group] = [g for g in groups if any(parameter is p for p in g.parameters)]
        offset = parameter.storage_offset()
        assert offset % ALIGNED == 0
        assert parameter.data_ptr() == group.values[offset:].data_ptr()
        assert parameter.grad is not None
        assert parameter.grad.data_ptr() == group.gradients[offset:].data_ptr()


def test_parameters_that_are_frozen_or_of_another_type_are_seen_to() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double(), nn.Linear(4, 4))
    model[2].requires_grad_(False)
    frozen = model[2].weight.clone()
    optimizer = make_optimizer(model, recipe(optimizer="adamw", weight_decay=0.1))
    assert [group.values.dtype for group in optimizer.groups] == [torch.float32, torch.float64]
    optimizer.set_lr(0.1)
    model[1](model[0](torch.ones(1, 4)).double()).sum().backward()
    optimizer.step()
    assert torch.equal(model[2].weight, frozen)
    assert model[2].weight.grad is None


@pytest.mark.parametrize("fields", [{"optimizer": "adamw"}, {"optimizer": "sgd", "momentum": 0.9}])
def test_a_state_of_another_optimiser_or_model_is_refused(fields: dict[str, Any]) -> None:
    optimizer = make_optimizer(small_model(), recipe(**fields))
    other = make_optimizer(small_model(), recipe(optimizer="sgd"))
    smaller = make_optimizer(nn.Linear(2, 2), recipe(**fields))
    twice = make_optimizer(
        nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), recipe(**fields)
    )
    for state in (other.state_dict(), smaller.state_dict(), twice.state_dict()):
        with pytest.raises(ValueError, match=r"keeps|another|shorter"):
            optimizer.load_state_dict(state)
