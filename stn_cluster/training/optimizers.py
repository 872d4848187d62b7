"""SGD, AdamW and Muon over flat groups of parameters: one tensor of values, one of gradients.

An update is then one kernel a group, whatever the number of layers, and touches fixed addresses
only. The rate is a tensor, so that a captured step can change it. (`torch.optim` would also import
PyTorch's compiler, a second and a half in every worker, for the sake of what nobody compiles.)
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

ALIGNED = 16  # float32s, 64 bytes: where each parameter begins, for the sake of matrix products
IMAGE_CHANNELS = 3  # at most: a convolution of more is an inner one, which Muon is for
BETA1, EPSILON = 0.9, 1e-8  # AdamW's usual


class Rule(Protocol):
    """An algorithm: what it keeps of a group, and its update."""

    def new(self, group: Group) -> dict[str, Tensor]:
        """What it keeps of a group, at the start."""

    def update(self, group: Group, kept: dict[str, Tensor]) -> None:
        """One update of a group's values, and of what is kept, from its gradients."""


class Group:
    """Parameters of one type that are trained alike; they become views of `values`.

    Args:
        parameters: at least one; each one's data and gradient are replaced.
        rule: what updates them.
        lr_factor: their learning rate, as a multiple of the schedule's.
        weight_decay: as the rule means it.
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


class Optimizer:
    """The groups of a model and what the rule of each keeps.

    Args:
        groups: from `parameter_groups`.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = tuple(groups)
        self._kept = [group.rule.new(group) for group in groups]

    def set_lr(self, lr: Tensor | float) -> None:
        """The schedule's learning rate, for the next update."""
        for group in self.groups:
            group.lr.fill_(lr)
            group.lr *= group.lr_factor

    def zero_grad(self) -> None:
        """Empties the gradients, which a backward pass adds to."""
        for group in self.groups:
            group.gradients.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients."""
        for group, kept in zip(self.groups, self._kept, strict=True):
            group.rule.update(group, kept)

    def state_dict(self) -> list[dict[str, Tensor]]:
        """What is kept for each group, to go on from."""
        return self._kept

    def load_state_dict(self, state: list[dict[str, Tensor]]) -> None:
        """Puts a `state` back.

        Raises:
            ValueError: it is another optimiser's or another model's.
        """
        for kept, found in zip(self._kept, state, strict=True):
            if kept.keys() != found.keys():
                raise ValueError(f"the optimiser keeps {sorted(kept)}, not {sorted(found)}")
            for name, tensor in kept.items():
                if tensor.shape != found[name].shape:  # `copy_` would stretch a smaller one
                    raise ValueError(f"{name}: another model's")
                tensor.copy_(found[name])


@dataclass(frozen=True)
class SGD:
    """Plain, or with momentum; weight decay is added to the gradient."""

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
    """Of one weight, with decoupled weight decay: see `muon.py`."""

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
    """The recipe's, with the localisation nets in groups of their own."""
    return Optimizer(parameter_groups(model, recipe))


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[Group]:
    """The trainable parameters by learning rate, weight decay, rule and type."""
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
        # Towards 0, theta would zoom into the middle, against the loss: its rest is the identity.
        spared = parameter.ndim <= 1 or id(parameter) in placing
        decay = 0.0 if spared and recipe.decay == "weights" else recipe.weight_decay
        together.setdefault((factor, decay, parameter.dtype), []).append(parameter)
    groups = [Group(them, usual, factor, decay) for (factor, decay, _), them in together.items()]
    return [*groups, *alone]
