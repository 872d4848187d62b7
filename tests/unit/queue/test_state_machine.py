"""The queue agrees with its model whatever is done in whatever order."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from support.queue_machine import BIG, FATES, LOSSES, SOME_CELLS, QueueMachine

from stn_cluster.grid import Needs
from stn_cluster.queue.jobs import CellState

TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)


@pytest.mark.parametrize("seed", range(12))
def test_the_queue_agrees_with_its_model_on_a_long_walk(seed: int) -> None:
    """Mixes all rules, while Hypothesis prefers a few at a time."""
    random = Random(seed)
    machine = QueueMachine()
    machine.open(random.choice(SOME_CELLS))
    try:
        for _ in range(120):
            step(machine, random)
            machine.agree()
    finally:
        machine.teardown()


def step(machine: QueueMachine, random: Random) -> None:
    """One that is possible now."""
    model = machine.model
    which, ok = random.randrange(6), random.random() < 0.5
    possible = ["restart"] if model.attempts and random.random() < 0.2 else []
    if model.queued():
        possible += ["work"] * 3
    if model.running():
        possible += ["results", "save", "lose a worker", "die between", "cancel"]
    elif model.queued(Needs()):
        possible += ["lose every worker", "cancel"]
    if model.exhausted():
        possible += ["fail the exhausted"]
    if machine.jobs_with(CellState.FAILED, CellState.CANCELLED):
        possible += ["retry"]
    if len(model.jobs) < 8 or not possible:
        possible += ["submit"]
    match random.choice(possible):
        case "restart":
            machine.restart(ok)
        case "submit":
            cells, priority = random.choice(SOME_CELLS), random.randrange(3)
            machine.submit(cells, priority, random.random() < 0.6, ok)
        case "work":
            needs = random.choice([Needs(), Needs(), BIG])
            fates = random.choices(FATES, [4, 1, 1, 1], k=4)
            machine.work(random.randint(1, 4), needs, which if which < 2 else None, fates)
        case "results":
            machine.results([ok, True])
        case "save":
            machine.save(which, random.randint(1, 7))
        case "lose a worker":
            machine.lose_a_worker(which, random.choice(LOSSES))
        case "die between":
            machine.die_between_store_and_queue(which, ok, random.random() < 0.5)
        case "lose every worker":
            machine.lose_every_worker(3, random.choice(LOSSES))
        case "fail the exhausted":
            machine.fail_the_exhausted()
        case "cancel":
            machine.cancel(which, random.random() < 0.5, [ok, True] if which < 4 else [])
        case "retry":
            machine.retry(which)
