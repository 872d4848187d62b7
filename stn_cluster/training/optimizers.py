"""SGD and AdamW over flat groups of parameters: one tensor of values, one of gradients.

An update is then one kernel a group, whatever the number of layers, and touches fixed addresses
only. The rate is a tensor, so that a captured step can change it. (`torch.optim` would also import
PyTorch's compiler, a second and a half in every worker, for the sake of what nobody compiles.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stn_cluster.recipes import Recipe
from stn_cluster.stn.transformer import SpatialTransformer

ALIGNED = 16  # float32s, 64 bytes: where each parameter begins, for the sake of matrix products
BETA1, EPSILON = 0.9, 1e-8  # AdamW's usual


class Group:
    """Parameters of one type that share a learning rate; they become views of `values`.

    Args:
        parameters: at least one; each one's data and gradient are replaced.
        rate_factor: their learning rate, as a multiple of the schedule's.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], rate_factor: float) -> None:
        self.parameters = tuple(parameters)
        self.rate_factor = rate_factor
        places, end = [], 0
        for parameter in parameters:
            places.append(end)
            end += -(-parameter.numel() // ALIGNED) * ALIGNED
        first = parameters[0]
        self.values = torch.zeros(end, dtype=first.dtype, device=first.device)
        self.gradients = torch.zeros_like(self.values)
        self.rate = torch.zeros((), device=first.device)
        for parameter, place in zip(parameters, places, strict=True):
            here = slice(place, place + parameter.numel())
            self.values[here] = parameter.detach().reshape(-1)
            parameter.data = self.values[here].view(parameter.shape)
            parameter.grad = self.gradients[here].view(parameter.shape)


class Optimizer:
    """The groups of a model and what an algorithm keeps for each.

    Args:
        groups: from `parameter_groups`.
        weight_decay: as the algorithm means it.
    """

    def __init__(self, groups: Sequence[Group], weight_decay: float) -> None:
        self.groups = tuple(groups)
        self.weight_decay = weight_decay
        self._kept = [self._new(group) for group in groups]

    def set_rate(self, rate: Tensor | float) -> None:
        """The schedule's learning rate, for the next update."""
        for group in self.groups:
            group.rate.fill_(rate)
            group.rate *= group.rate_factor

    def zero_grad(self) -> None:
        """Empties the gradients, which a backward pass adds to."""
        for group in self.groups:
            group.gradients.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients."""
        for group, kept in zip(self.groups, self._kept, strict=True):
            self._update(group, kept)

    def state(self) -> list[dict[str, Tensor]]:
        """What is kept for each group, to go on from."""
        return self._kept

    def restore(self, state: list[dict[str, Tensor]]) -> None:
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

    def _new(self, group: Group) -> dict[str, Tensor]:
        raise NotImplementedError

    def _update(self, group: Group, kept: dict[str, Tensor]) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Plain, or with momentum; `weight_decay` is added to the gradient."""

    def __init__(self, groups: Sequence[Group], weight_decay: float, momentum: float) -> None:
        self.momentum = momentum
        super().__init__(groups, weight_decay)

    def _new(self, group: Group) -> dict[str, Tensor]:
        return {"momentum": torch.zeros_like(group.values)} if self.momentum else {}

    def _update(self, group: Group, kept: dict[str, Tensor]) -> None:
        torch._fused_sgd_(
            [group.values],
            [group.gradients],
            list(kept.values()),
            lr=group.rate,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    def __init__(self, groups: Sequence[Group], weight_decay: float, beta2: float) -> None:
        self.beta2 = beta2
        super().__init__(groups, weight_decay)

    def _new(self, group: Group) -> dict[str, Tensor]:
        return {
            "mean": torch.zeros_like(group.values),
            "square": torch.zeros_like(group.values),
            "steps": torch.zeros((), device=group.values.device),
        }

    def _update(self, group: Group, kept: dict[str, Tensor]) -> None:
        kept["steps"] += 1
        torch._fused_adamw_(
            [group.values],
            [group.gradients],
            [kept["mean"]],
            [kept["square"]],
            [],
            [kept["steps"]],
            lr=group.rate,
            beta1=BETA1,
            beta2=self.beta2,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


def make_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's, with the localisation nets in groups of their own."""
    groups = parameter_groups(model, recipe.localisation_rate)
    if recipe.optimizer == "sgd":
        return SGD(groups, recipe.weight_decay, recipe.momentum)
    return AdamW(groups, recipe.weight_decay, recipe.beta2)


def parameter_groups(model: nn.Module, localisation_rate: float) -> list[Group]:
    """The trainable parameters by learning rate and type."""
    transformers = [m for m in model.modules() if isinstance(m, SpatialTransformer)]
    localising = {id(p) for transformer in transformers for p in transformer.parameters()}
    together: dict[tuple[float, torch.dtype], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            factor = localisation_rate if id(parameter) in localising else 1.0
            together.setdefault((factor, parameter.dtype), []).append(parameter)
    return [Group(members, factor) for (factor, _), members in together.items()]
