"""Models of plug-ins: what they share with others, and what they give, is checked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.captures import train_captured
from support.packs import ITERATIONS, arithmetic, make_cells, train
from support.user_models import Given, Linear, assert_refused, doing, pack_of
from torch import Tensor, nn

from stn_cluster import register_model
from stn_cluster.data.cache import DataCache
from stn_cluster.stn import Dropout, Task

# --- what is shared ---


def store_and_change_later(net: Linear, images: Tensor) -> None:
    if hasattr(net, "kept"):
        net.kept.data.add_(1)
    net.kept = images


WAYS: dict[str, Given] = {
    "an operation in place": lambda net, images: images.sub_(0.5),
    "a view of the batch": lambda net, images: images[0].zero_(),
    "its data": lambda net, images: images.data.mul_(0.5),
    "a NumPy array": lambda net, images: images.numpy().fill(0.5),
    "a detached array": lambda net, images: images.detach().numpy().fill(0),
    "its storage": lambda net, images: images.untyped_storage().fill_(0),
    "its size": lambda net, images: images.resize_(3, 1, 28, 28),
    "its type": lambda net, images: setattr(images, "data", images.data.double()),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("captured", [False, True], ids=["eager", "captured"])
def test_a_model_that_writes_into_its_batch_fails_and_touches_nobody(
    way: str, captured: bool, data: DataCache, alone: tuple[object, ...]
) -> None:
    mine, fcn = doing(WAYS[way])
    test_set = data.test(mine).images.whole()
    outcomes = train_captured([mine, fcn], data)[0] if captured else train([mine, fcn], data)
    assert_refused(outcomes[mine.key].error, "changed a training batch", "images.clone()")
    assert outcomes[mine.key].iterations <= 16
    assert arithmetic(outcomes[fcn.key]) == alone
    assert torch.equal(data.test(mine).images.whole(), test_set)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("every", [None, 8])
def test_a_model_that_writes_into_the_test_set_fails_and_touches_nobody(
    way: str, every: int | None, data: DataCache, alone: tuple[object, ...]
) -> None:
    register_model("Mine")(
        lambda task: Linear(lambda net, images: net.training or WAYS[way](net, images))
    )
    [mine] = make_cells(models=["Mine"], recipe={"evaluate_every": every})
    [fcn] = make_cells(models=["FCN"])
    test_set = data.test(mine).images.whole()
    outcomes = train([mine, fcn], data)
    assert_refused(outcomes[mine.key].error, "changed the images of the test set")
    assert outcomes[mine.key].iterations == every or ITERATIONS
    assert torch.equal(data.test(mine).images.whole(), test_set)
    assert arithmetic(outcomes[fcn.key]) == alone


def test_a_batch_that_is_changed_after_it_was_used_is_nobody_elses(
    data: DataCache, alone: tuple[object, ...]
) -> None:
    mine, fcn = doing(store_and_change_later)
    assert arithmetic(train([mine, fcn], data)[fcn.key]) == alone


def test_a_batch_of_which_the_gradient_is_taken_is_nobody_elses(
    data: DataCache, alone: tuple[object, ...]
) -> None:
    mine, fcn = doing(lambda net, images: images.requires_grad_())
    outcomes = train([mine, fcn], data)
    assert outcomes[mine.key].error is None
    assert arithmetic(outcomes[fcn.key]) == alone


ONCE = Linear()
SHARED = torch.zeros(784)


class Shifts(nn.Module):
    """Adds a constant of its module, which every model registers as its own buffer."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.register_buffer("shift", SHARED)
        self.rate = rate
        self.scores = nn.Linear(784, 10)

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.shift += self.rate
        scores: Tensor = self.scores(images.flatten(1) + self.shift)
        return scores


def test_a_model_that_several_cells_are_given_is_refused(data: DataCache) -> None:
    register_model("Mine")(lambda task: ONCE)
    register_model("Backbone")(lambda task: nn.Sequential(nn.Flatten(), ONCE.scores))
    first, second = make_cells(models=["Mine"], seeds=[0, 1])
    [third] = make_cells(models=["Backbone"])
    train([first], data)
    for cell in (first, second, third):
        error = str(train([cell], data)[cell.key].error)
        assert f"UserError: model '{cell.model}' gave a cell the weights of another one (" in error
        assert "weight)" in error


def test_a_dropout_that_several_cells_are_given_is_refused(data: DataCache) -> None:
    dropout = Dropout(0.5)
    register_model("Mine")(
        lambda task: nn.Sequential(nn.Flatten(), dropout, nn.Linear(784, task.n_classes))
    )
    cells = make_cells(models=["Mine"], seeds=[0, 1], recipe={"dropout": 0.5})
    outcomes = train(cells, data)
    assert_refused(outcomes[cells[1].key].error, "Dropout module of another one")


def test_a_constant_that_several_models_are_given_is_each_ones_own(data: DataCache) -> None:
    register_model("Mine")(lambda task: Shifts(0.01))
    cells = make_cells(models=["Mine"], seeds=[0, 1])
    together = train(cells, data)
    for cell in cells:
        assert arithmetic(train([cell], data)[cell.key]) == arithmetic(together[cell.key])
    assert not SHARED.any()


# --- what a model gives ---


class Gives(nn.Module):
    def __init__(self, give: Callable[[Tensor, Gives], object], outputs: int = 10) -> None:
        super().__init__()
        self.scores = nn.Linear(784, outputs)
        self.give = give

    def forward(self, images: Tensor) -> object:
        return self.give(self.scores(images.flatten(1)), self)


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "1,000 classes": (
        lambda: Gives(lambda scores, net: scores, 1000),
        "gave float32 (16, 1000) on cpu; expected scores (16, 10)",
    ),
    "9 classes": (lambda: Gives(lambda scores, net: scores, 9), "gave float32 (16, 9)"),
    "another shape": (
        lambda: Gives(lambda scores, net: scores[..., None]),
        "gave float32 (16, 10, 1)",
    ),
    "a mean": (lambda: Gives(lambda scores, net: scores.mean(0, keepdim=True)), "(1, 10)"),
    "classes": (lambda: Gives(lambda scores, net: scores.argmax(1)), "gave int64 (16,)"),
    "whole numbers": (lambda: Gives(lambda scores, net: scores.long()), "gave int64 (16, 10)"),
    "a tuple": (lambda: Gives(lambda scores, net: (scores, scores)), "gave tuple of 2"),
    "a dict": (lambda: Gives(lambda scores, net: {"logits": scores}), "gave dict of 1"),
    "nothing": (lambda: Gives(lambda scores, net: None), "gave NoneType"),
    "no gradient": (lambda: Gives(lambda scores, net: scores.detach()), "without a gradient"),
    "no module": (lambda: len, "gave builtin_function_or_method, not a torch.nn.Module"),
    "a class": (lambda: Linear, "gave type, not a torch.nn.Module"),
    "other scores when tested": (
        lambda: Gives(lambda scores, net: scores if net.training else scores[:, :5]),
        "gave float32 (100, 5)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_model_that_gives_something_else_than_scores_is_refused(
    case: str, data: DataCache, alone: tuple[object, ...]
) -> None:
    build, told = WRONG[case]
    mine, fcn = pack_of(lambda task: build())
    outcomes = train([mine, fcn], data)
    assert_refused(outcomes[mine.key].error, told)
    assert outcomes[mine.key].predictions is None
    assert arithmetic(outcomes[fcn.key]) == alone


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("every", [None, 8])
def test_scores_that_are_not_finite_are_no_predictions(
    bad: float, every: int | None, data: DataCache
) -> None:
    def give(scores: Tensor, net: Gives) -> Tensor:
        if not net.training:
            scores[3, 4] = bad  # one image of each hundred
        return scores

    register_model("Mine")(lambda task: Gives(give))
    [mine] = make_cells(models=["Mine"], recipe={"evaluate_every": every})
    outcome = train([mine], data)[mine.key]
    assert "model 'Mine' gave scores that are not finite" in str(outcome.error)
    assert "for 36 of 3,600 test images" in str(outcome.error)
    assert outcome.n_wrong is None


REPLACED: dict[str, Callable[[Linear], object]] = {
    "gradients": lambda net: net.zero_grad(),
    "a parameter": lambda net: setattr(net.scores, "bias", nn.Parameter(torch.zeros(10))),
    "data": lambda net: setattr(net.scores.weight, "data", net.scores.weight.data.clone()),
    "frozen": lambda net: net.scores.bias.requires_grad_(False),
    "freed": lambda net: net.frozen.requires_grad_(),
}


@pytest.mark.parametrize("part", REPLACED)
def test_parameters_that_the_optimiser_would_not_train_any_more_are_noticed(
    part: str, data: DataCache, alone: tuple[object, ...]
) -> None:
    def before(net: Linear, images: Tensor) -> None:
        if net.steps == 5:
            REPLACED[part](net)

    def build(task: Task) -> nn.Module:
        net = Linear(before)
        net.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
        return net

    mine, fcn = pack_of(build)
    outcomes = train([mine, fcn], data)
    assert_refused(outcomes[mine.key].error, "replaced, froze or freed parameters")
    assert outcomes[mine.key].iterations <= 16
    assert arithmetic(outcomes[fcn.key]) == alone


def test_scores_of_another_precision_are_good_ones(data: DataCache) -> None:
    for kind in (torch.float64, torch.bfloat16):
        register_model("Mine")(lambda task, kind=kind: Gives(lambda scores, net: scores.to(kind)))
        [mine] = make_cells(models=["Mine"])
        assert train([mine], data)[mine.key].error is None


def test_code_that_ends_its_process_politely_ends_its_cell(
    data: DataCache, alone: tuple[object, ...]
) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError("says nothing")

    def raise_it(error: BaseException) -> None:
        raise error

    for error in (SystemExit(3), MuteError()):
        mine, fcn = doing(lambda net, images, error=error: raise_it(error))
        outcomes = train([mine, fcn], data)
        assert type(error).__name__ in str(outcomes[mine.key].error)
        assert arithmetic(outcomes[fcn.key]) == alone
