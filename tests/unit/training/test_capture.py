"""Captured rounds: the same bits as eager steps, and nothing that a CUDA graph could not repeat."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from support.captures import NoHost, train_captured
from support.packs import arithmetic, make_cells, train
from torch import nn

from stn_cluster import register_model
from stn_cluster.data.cache import DataCache
from stn_cluster.training.trainer import EAGER_ROUNDS, PackTrainer


@pytest.mark.parametrize(
    ("distortion", "optimizer"), [("R", "sgd"), ("RTS", "adamw"), ("P", "sgd"), ("E", "adamw")]
)
def test_captured_rounds_give_the_same_bits_as_eager_steps(
    data: DataCache, distortion: str, optimizer: str
) -> None:
    recipe = {"optimizer": optimizer, "momentum": 0.9, "evaluate_every": 20, "learning_rate": 0.003}
    models = ["FCN", "CNN", "ST-FCN", "ST-CNN"] if distortion == "P" else ["FCN", "ST-FCN"]
    cells = make_cells(distortions=[distortion], models=models, recipe=recipe)
    eager = train(cells, data)
    captured, rounds = train_captured(cells, data)
    assert rounds.captures == 1
    assert rounds.replays == cells[0].iterations - EAGER_ROUNDS
    for key, outcome in eager.items():
        assert outcome.error is None
        assert arithmetic(captured[key]) == arithmetic(outcome)


def test_cells_that_end_or_start_apart_are_captured_anew(data: DataCache) -> None:
    cells = make_cells(models=["FCN", "CNN"])
    cells += make_cells(models=["FCN"], recipe={"iterations": 40})
    trainer = PackTrainer(cells[:1], data)
    for _ in range(7):
        trainer._advance(cells[0].stream)
    states = trainer.checkpoints()
    eager = train(cells, data, states)
    captured, rounds = train_captured(cells, data, states)
    assert rounds.captures >= 3  # two that catch up; all three; without the one that has ended
    for key, outcome in eager.items():
        assert arithmetic(captured[key]) == arithmetic(outcome)


@pytest.mark.usefixtures("registered")
def test_a_step_that_cannot_be_captured_is_trained_eagerly_and_the_log_says_so(
    data: DataCache, caplog: pytest.LogCaptureFixture
) -> None:
    class Peeks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(784, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.layer(images.flatten(1))
            return scores * float(images.sum() > 0)

    @register_model("Peeks")
    def peeks(task: object) -> nn.Module:
        return Peeks()

    def capture(work: Callable[[], None], draws: object) -> Callable[[], None]:
        with NoHost():
            work()
        raise AssertionError("it reads a value back")

    [cell] = make_cells(models=["Peeks"])
    trainer = PackTrainer([cell], data, capture=capture)
    with caplog.at_level(logging.WARNING):
        [outcome] = [o for progress in trainer.run() for o in progress.ended]
    assert arithmetic(outcome) == arithmetic(train([cell], data)[cell.key])
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"trained eagerly, as their step cannot be captured: {cell.label}: ")


def test_a_refusal_by_cuda_is_no_reason_to_end_the_worker_but_a_lack_of_memory_is(
    data: DataCache,
) -> None:
    def refuse(work: Callable[[], None], draws: object) -> Callable[[], None]:
        raise torch.AcceleratorError("CUDA error: operation not permitted while capturing")

    def overflow(work: Callable[[], None], draws: object) -> Callable[[], None]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    [cell] = make_cells(models=["FCN"])
    [outcome] = [o for p in PackTrainer([cell], data, capture=refuse).run() for o in p.ended]
    assert arithmetic(outcome) == arithmetic(train([cell], data)[cell.key])
    with pytest.raises(torch.OutOfMemoryError):
        list(PackTrainer([cell], data, capture=overflow).run())


def test_a_cell_whose_loss_explodes_ends_alone(data: DataCache) -> None:
    [bad] = make_cells(models=["FCN"], recipe={"learning_rate": 1e30})
    good = make_cells(models=["FCN", "CNN"])
    ended, _ = train_captured([bad, *good], data)
    assert "not finite" in (ended[bad.key].error or "")
    expected = train(good, data)
    for cell in good:
        assert arithmetic(ended[cell.key]) == arithmetic(expected[cell.key])


def test_what_is_forbidden_here_is_noticed() -> None:
    with NoHost():
        for read in (
            lambda: float(torch.ones(())),
            lambda: torch.ones(2).nonzero(),
            lambda: torch.tensor([1.0]),
            lambda: torch.ones(2).new_tensor([1.0]),
            lambda: torch.ones(3)[torch.ones(3) > 0],
            lambda: torch.ones(3).normal_(generator=torch.Generator()),
        ):
            with pytest.raises(RuntimeError, match="cannot be captured"):
                read()
