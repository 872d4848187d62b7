"""Models of plug-ins: what they change, and what they give, is their own cell's affair alone."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.captures import train_captured
from support.packs import ITERATIONS, arithmetic, make_cells, train
from torch import Tensor, nn

from stn_cluster import register_model, register_transform
from stn_cluster.data.cache import DataCache
from stn_cluster.grid import Cell
from stn_cluster.stn import AffineGrid, Dropout, Task
from stn_cluster.training.trainer import PackTrainer


class Linear(nn.Module):
    """A linear classifier that may do something before."""

    def __init__(self, before: Callable[[Linear, Tensor], object] = lambda net, images: None):
        super().__init__()
        self.scores = nn.Linear(28 * 28, 10)
        self.steps = 0
        self.before = before

    def forward(self, images: Tensor) -> Any:
        self.steps += self.training
        given = self.before(self, images)
        return self.scores((given if isinstance(given, Tensor) else images).flatten(1).float())


def pack_of(build: Callable[[Task], object]) -> tuple[Cell, Cell]:
    """A cell of a plug-in's model, and a pack mate with the same batches."""
    register_model("Mine")(build)
    mine, fcn = make_cells(models=["Mine", "FCN"])
    return mine, fcn


def doing(before: Callable[[Linear, Tensor], object]) -> tuple[Cell, Cell]:
    return pack_of(lambda task: Linear(before))


def assert_refused(error: str | None, *told: str) -> None:
    assert error is not None
    assert len(error.splitlines()) == 1
    assert error.startswith("UserError: model 'Mine' ")
    for part in told:
        assert part in error


@pytest.fixture(scope="module")
def alone(data: DataCache) -> tuple[object, ...]:
    """What the pack mate comes to alone."""
    [fcn] = make_cells(models=["FCN"])
    return arithmetic(train([fcn], data)[fcn.key])


# --- what is shared ---

Given = Callable[[Linear, Tensor], object]


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
    test_set = data.test(mine).images.clone()
    outcomes = train_captured([mine, fcn], data)[0] if captured else train([mine, fcn], data)
    assert_refused(outcomes[mine.key].error, "changed a training batch", "images.clone()")
    assert outcomes[mine.key].iterations <= 16
    assert arithmetic(outcomes[fcn.key]) == alone
    assert torch.equal(data.test(mine).images, test_set)


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
    test_set = data.test(mine).images.clone()
    outcomes = train([mine, fcn], data)
    assert_refused(outcomes[mine.key].error, "changed the images of the test set")
    assert outcomes[mine.key].iterations == every or ITERATIONS
    assert torch.equal(data.test(mine).images, test_set)
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


# --- settings of the process ---

SETTINGS: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "grad mode from True to False": (
        lambda: torch._C._set_grad_enabled(False),
        torch.is_grad_enabled,
    ),
    "default dtype from torch.float32 to torch.float64": (
        lambda: torch.set_default_dtype(torch.float64),
        torch.get_default_dtype,
    ),
    "default device": (lambda: torch.set_default_device("cpu"), torch._C._len_torch_function_stack),
    "number of threads from 1 to 2": (lambda: torch.set_num_threads(2), torch.get_num_threads),
    "deterministic algorithms": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        torch.are_deterministic_algorithms_enabled,
    ),
    "matrix products on the CPU": (
        lambda: torch.set_float32_matmul_precision("medium"),
        torch.get_float32_matmul_precision,
    ),
    "anomaly detection": (
        lambda: torch.autograd.set_detect_anomaly(True),
        torch.is_anomaly_enabled,
    ),
    "autocast on the CPU": (
        lambda: torch.set_autocast_enabled("cpu", True),
        lambda: torch.is_autocast_enabled("cpu"),
    ),
    "cudnn.benchmark": (
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
        lambda: torch.backends.cudnn.benchmark,
    ),
    "flushing of denormal numbers": (
        lambda: torch.set_flush_denormal(True),
        lambda: (torch.tensor(1e-310, dtype=torch.float64) * 1).item(),
    ),
    "global module hooks": (
        lambda: nn.modules.module.register_module_forward_hook(lambda net, given, made: made * 2),
        lambda: len(nn.modules.module._global_forward_hooks),
    ),
    "NumPy's errors": (lambda: np.seterr(all="raise"), np.geterr),
    "the working folder": (lambda: os.chdir("/"), os.getcwd),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("at", [1, 5])
def test_a_model_that_changes_a_setting_of_the_process_fails_and_touches_nobody(
    setting: str, at: int, data: DataCache, alone: tuple[object, ...]
) -> None:
    change, read = SETTINGS[setting]
    before = read()
    mine, fcn = doing(lambda net, images: net.steps == at and change())
    outcomes = train([mine, fcn], data)
    assert read() == before
    assert_refused(outcomes[mine.key].error, " changed ", setting)
    assert outcomes[mine.key].iterations == at - 1
    assert arithmetic(outcomes[fcn.key]) == alone


def test_settings_are_also_undone_where_a_model_is_built_and_tested(
    data: DataCache, alone: tuple[object, ...]
) -> None:
    def builds(task: Task) -> nn.Module:
        torch.set_default_dtype(torch.float64)
        return Linear()

    for build in (
        builds,
        lambda task: Linear(lambda net, images: net.training or torch.set_num_threads(2)),
    ):
        mine, fcn = pack_of(build)
        outcomes = train([mine, fcn], data)
        assert_refused(outcomes[mine.key].error, " changed torch's ")
        assert arithmetic(outcomes[fcn.key]) == alone


def test_a_setting_that_is_set_back_is_no_fault(data: DataCache) -> None:
    def before(net: Linear, images: Tensor) -> None:
        with torch.no_grad(), torch.autocast("cpu"):
            net.scores(images.flatten(1))

    mine, _ = doing(before)
    assert train([mine], data)[mine.key].error is None


def test_a_plugins_transform_is_watched_too(data: DataCache) -> None:
    @register_transform("shear")
    class Shear(AffineGrid):
        def forward(self, theta: Tensor) -> Tensor:
            torch.set_num_threads(2)
            return super().forward(theta)

    [cell] = make_cells(models=["ST-FCN"], transforms=["shear"])
    told = "UserError: model 'ST-FCN' with transform 'shear' changed torch's number of threads"
    assert told in str(train([cell], data)[cell.key].error)


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


# --- random numbers and other state ---


def draw(net: Linear, images: Tensor) -> Tensor:
    noise = random.random() + np.random.rand() + torch.rand(1).item()
    return images + noise if net.training else images + 0.1 * noise


def interrupted(cells: list[Cell], data: DataCache, at: int) -> dict[str, bytes]:
    trainer = PackTrainer(cells, data)
    for _ in range(at):
        trainer._advance(cells[0].stream)
    return trainer.checkpoints()


@pytest.mark.parametrize("every", [None, 8])
def test_python_and_numpy_draw_from_the_seed_and_go_on_after_an_interruption(
    every: int | None, data: DataCache
) -> None:
    register_model("Mine")(lambda task: Linear(draw))
    cells = make_cells(models=["Mine"], seeds=[0, 1], recipe={"evaluate_every": every})
    [fcn] = make_cells(models=["FCN"])
    together = train([*cells, fcn], data)
    states = interrupted(cells, data, 11)
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    resumed = train(cells, data, states)
    for cell in cells:
        assert arithmetic(train([cell], data)[cell.key]) == arithmetic(together[cell.key])
        assert arithmetic(resumed[cell.key]) == arithmetic(together[cell.key])
    first, second = (together[cell.key].curve for cell in cells)
    assert first != second
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == before


def warms_up(net: Linear, images: Tensor) -> Tensor:
    return images * min(1.0, net.steps / 10)


class Remembers(nn.Module):
    """Has state in all places that a checkpoint can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(784, 10)
        self.inner = Linear()
        self.mean = torch.zeros(784)
        self.register_buffer("square", torch.zeros(784), persistent=False)
        self.norms: list[float] = []
        self.seen = {"steps": 0, "last": (0.0, None)}
        self.alias = [self.scores]  # changes as the weights do, and is kept with them
        self.unseen = lambda: None

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        if self.training:
            self.mean.lerp_(flat.mean(0), 0.1)
            self.square = self.square * 0.9 + flat.square().mean(0) * 0.1
            self.norms.append(float(flat.norm()))
            self.seen = {"steps": self.seen["steps"] + 1, "last": (self.norms[-1], None)}
        centred = (flat - self.mean) / (self.square + 1).sqrt()
        scores = self.scores(centred * (1 + len(self.norms) / 10))
        return scores + self.inner(images) * self.seen["last"][0] / 100


@pytest.mark.parametrize("build", [lambda: Linear(warms_up), Remembers])
def test_attributes_that_change_in_training_are_kept(
    build: Callable[[], nn.Module], data: DataCache
) -> None:
    mine, _ = pack_of(lambda task: build())
    states = interrupted([mine], data, 11)
    assert arithmetic(train([mine], data, states)[mine.key]) == arithmetic(
        train([mine], data)[mine.key]
    )


class Meter:
    def __init__(self) -> None:
        self.total = 0


def test_a_cell_whose_state_cannot_be_kept_begins_anew_and_the_log_says_so_once(
    data: DataCache, caplog: pytest.LogCaptureFixture, alone: tuple[object, ...]
) -> None:
    class Metered(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.meter = Meter()

        def forward(self, images: Tensor) -> Any:
            self.meter.total += self.training
            return super().forward(images * self.meter.total)

    mine, fcn = pack_of(lambda task: Metered())
    trainer = PackTrainer([mine, fcn], data)
    assert trainer.checkpoints().keys() == {mine.key, fcn.key}  # nothing has changed yet
    trainer._advance(mine.stream)
    for _ in range(2):
        states = trainer.checkpoints()
        assert states.keys() == {fcn.key}
    [said] = [record.getMessage() for record in caplog.records]
    assert said == (
        f"{mine.label} has no checkpoint of step 1, and begins anew if it is interrupted: model "
        "'Mine': attribute 'meter' (Meter) cannot be kept in a checkpoint, which holds numbers, "
        "strings, tensors, and lists, tuples, sets and dicts of these"
    )
    resumed = train([mine, fcn], data, states)
    assert arithmetic(resumed[mine.key]) == arithmetic(train([mine], data)[mine.key])
    assert arithmetic(resumed[fcn.key]) == alone


class Extra(Linear):
    """Has state that `get_extra_state` gives."""

    state: object = Meter()

    def get_extra_state(self) -> object:
        return self.state


class NeverSet(Extra):
    state = {"steps": 3}


class Lambda(Extra):
    state = len, lambda: None


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (Extra, "state '_extra_state' (Meter) cannot be kept in a checkpoint"),
        (Lambda, "state '_extra_state' (tuple) cannot be kept in a checkpoint"),
        (NeverSet, "cannot be restored from a checkpoint: RuntimeError"),
    ],
)
def test_extra_state_that_cannot_be_read_back_is_told_before_the_first_step(
    build: Callable[[], nn.Module], told: str, data: DataCache, alone: tuple[object, ...]
) -> None:
    mine, fcn = pack_of(lambda task: build())
    outcomes = train([mine, fcn], data)
    assert told in str(outcomes[mine.key].error)
    assert str(outcomes[mine.key].error).startswith("UserError: model 'Mine'")
    assert outcomes[mine.key].iterations == 0
    assert arithmetic(outcomes[fcn.key]) == alone


class Counts(Linear):
    """Keeps its steps as extra state, as torch means it."""

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def test_extra_state_that_can_be_read_back_is_kept(data: DataCache) -> None:
    mine, _ = pack_of(lambda task: Counts(warms_up))
    states = interrupted([mine], data, 11)
    assert arithmetic(train([mine], data, states)[mine.key]) == arithmetic(
        train([mine], data)[mine.key]
    )


@pytest.mark.parametrize("before", [draw, warms_up], ids=["draws", "counts"])
def test_a_step_that_a_graph_would_not_repeat_is_trained_eagerly(
    before: Given, data: DataCache
) -> None:
    mine, fcn = doing(before)
    captured, rounds = train_captured([mine, fcn], data)
    assert rounds.replays == 0
    assert arithmetic(captured[mine.key]) == arithmetic(train([mine], data)[mine.key])


def test_a_plugins_step_that_repeats_itself_is_captured(data: DataCache) -> None:
    def build(task: Task) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    mine, fcn = pack_of(build)
    captured, rounds = train_captured([mine, fcn], data)
    assert rounds.replays > 0
    assert arithmetic(captured[mine.key]) == arithmetic(train([mine], data)[mine.key])
