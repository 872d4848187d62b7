"""SGD, AdamW and Muon over flat groups of parameters: one tensor of values, one of gradients.

So an update is one kernel per group, regardless of the number of layers, on fixed addresses. The
learning rate is a tensor, so that a captured step can change it. (`torch.optim` would also import
PyTorch's compiler, which takes 1.5 seconds in every worker and is not used.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from stn_cluster.recipes import Recipe
from stn_cluster.stn.transformer import SpatialTransformer
from stn_cluster.training.muon import muon_update

ALIGNED = 16  # float32 numbers (64 bytes): alignment of each parameter, for fast matrix products
IMAGE_CHANNELS = 3  # a convolution with more input channels is an inner one: Muon trains it
BETA1, EPSILON = 0.9, 1e-8  # AdamW's usual values


class Rule(Protocol):
    """An optimisation algorithm: its state for a group, and its update."""

    def new(self, group: Group) -> dict[str, Tensor]:
        """Initial state for a group."""

    def update(self, group: Group, kept: dict[str, Tensor]) -> None:
        """Updates a group's values and state (`kept`) from its gradients."""


class Group:
    """Parameters of one dtype that are trained in the same way; they become views of `values`.

    Args:
        parameters: at least one; the data and gradient of each are replaced.
        rule: the algorithm that updates them.
        lr_factor: their learning rate, as a multiple of the schedule's.
        weight_decay: the rule's weight decay.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        rule: Rule,
        lr_factor: float,
        weight_decay: float,
    ) -> None:
        self.parameters = tuple(parameters)
        self.rule = rule
        self.lr_factor = lr_factor
        self.weight_decay = weight_decay
        places, end = [], 0
        for parameter in parameters:
            places.append(end)
            end += -(-parameter.numel() // ALIGNED) * ALIGNED
        first = parameters[0]
        self.values = torch.zeros(end, dtype=first.dtype, device=first.device)
        self.gradients = torch.zeros_like(self.values)
        self.lr = torch.zeros((), device=first.device)
        for parameter, place in zip(parameters, places, strict=True):
            here = slice(place, place + parameter.numel())
            self.values[here] = parameter.detach().reshape(-1)
            parameter.data = self.values[here].view(parameter.shape)
            parameter.grad = self.gradients[here].view(parameter.shape)

    @property
    def attached(self) -> bool:
        """Whether all parameters and their gradients are still views of the group's tensors."""
        values, gradients = (
            tensor.untyped_storage().data_ptr() for tensor in (self.values, self.gradients)
        )
        return all(
            parameter.untyped_storage().data_ptr() == values
            and parameter.grad is not None
            and parameter.grad.untyped_storage().data_ptr() == gradients
            for parameter in self.parameters
        )


class Optimizer:
    """Updates the groups of a model, each by its rule, and holds their states.

    Args:
        groups: from `parameter_groups`.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = tuple(groups)
        self._kept = [group.rule.new(group) for group in groups]

    def set_lr(self, lr: Tensor | float) -> None:
        """Sets the schedule's learning rate for the next update."""
        for group in self.groups:
            group.lr.fill_(lr)
            group.lr *= group.lr_factor

    def zero_grad(self) -> None:
        """Sets the gradients to 0; a backward pass adds to them."""
        for group in self.groups:
            group.gradients.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Updates all parameters from their gradients."""
        for group, kept in zip(self.groups, self._kept, strict=True):
            group.rule.update(group, kept)

    def trains(self, model: nn.Module) -> bool:
        """Whether an update still changes just the trainable parameters of the model."""
        present = {id(p) for p in model.parameters() if p.requires_grad}
        own = {id(p) for group in self.groups for p in group.parameters}
        return present == own and all(group.attached for group in self.groups)

    def state_dict(self) -> list[dict[str, Tensor]]:
        """State of each group, to resume from."""
        return self._kept

    def load_state_dict(self, state: list[dict[str, Tensor]]) -> None:
        """Restores a `state_dict`.

        Raises:
            ValueError: it belongs to another optimiser or another model.
        """
        for kept, saved in zip(self._kept, state, strict=True):
            if kept.keys() != saved.keys():
                raise ValueError(f"the optimiser keeps {sorted(kept)}, not {sorted(saved)}")
            for name, tensor in kept.items():
                if tensor.shape != saved[name].shape:  # `copy_` would broadcast a smaller one
                    raise ValueError(f"{name}: another model's")
                tensor.copy_(saved[name])


@dataclass(frozen=True)
class SGD:
    """SGD, with or without momentum; weight decay is added to the gradient."""

    momentum: float

    def new(self, group: Group) -> dict[str, Tensor]:
        """See `Rule`."""
        return {"momentum": torch.zeros_like(group.values)} if self.momentum else {}

    def update(self, group: Group, kept: dict[str, Tensor]) -> None:
        """See `Rule`."""
        torch._fused_sgd_(
            [group.values],
            [group.gradients],
            list(kept.values()),
            lr=group.lr,
            weight_decay=group.weight_decay,
            momentum=self.momentum,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    beta2: float

    def new(self, group: Group) -> dict[str, Tensor]:
        """See `Rule`."""
        return {
            "mean": torch.zeros_like(group.values),
            "square": torch.zeros_like(group.values),
            "steps": torch.zeros((), device=group.values.device),
        }

    def update(self, group: Group, kept: dict[str, Tensor]) -> None:
        """See `Rule`."""
        kept["steps"] += 1
        torch._fused_adamw_(
            [group.values],
            [group.gradients],
            [kept["mean"]],
            [kept["square"]],
            [],
            [kept["steps"]],
            lr=group.lr,
            beta1=BETA1,
            beta2=self.beta2,
            weight_decay=group.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


@dataclass(frozen=True)
class Muon:
    """Muon for one weight, with decoupled weight decay: see `muon.py`."""

    def new(self, group: Group) -> dict[str, Tensor]:
        """See `Rule`."""
        return {"momentum": torch.zeros_like(group.values)}

    def update(self, group: Group, kept: dict[str, Tensor]) -> None:
        """See `Rule`."""
        [weight] = group.parameters
        momentum = kept["momentum"][: weight.numel()].view(weight.shape)
        assert weight.grad is not None
        step = muon_update(weight.grad, momentum)
        weight.mul_(1 - group.lr * group.weight_decay).sub_(step * group.lr)


def make_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Makes the recipe's optimiser, with the localisation nets in separate groups."""
    return Optimizer(parameter_groups(model, recipe))


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[Group]:
    """Groups the trainable parameters by learning rate, weight decay, rule and dtype."""
    usual = SGD(recipe.momentum) if recipe.optimizer == "sgd" else AdamW(recipe.beta2)
    transformers = [m for m in model.modules() if isinstance(m, SpatialTransformer)]
    localising = {id(p) for transformer in transformers for p in transformer.parameters()}
    placing = {id(p) for transformer in transformers for p in transformer.theta.parameters()}
    together: dict[tuple[float, float, torch.dtype], list[nn.Parameter]] = {}
    alone: list[Group] = []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        inner = parameter.ndim == 4 and parameter.shape[1] > IMAGE_CHANNELS
        if recipe.muon_rate is not None and inner and id(parameter) not in localising:
            factor = recipe.muon_rate / recipe.learning_rate
            alone.append(Group([parameter], Muon(), factor, recipe.weight_decay))
            continue
        factor = recipe.localisation_rate if id(parameter) in localising else 1.0
        # Weight decay would pull theta to 0, a zoom into the image's centre, not to the identity.
        spared = parameter.ndim <= 1 or id(parameter) in placing
        decay = 0.0 if spared and recipe.decay == "weights" else recipe.weight_decay
        together.setdefault((factor, decay, parameter.dtype), []).append(parameter)
    groups = [
        Group(parameters, usual, factor, decay)
        for (factor, decay, _), parameters in together.items()
    ]
    return [*groups, *alone]
