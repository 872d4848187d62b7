"""Submission: a job as rows, which are what the queue needs of its cells and evaluations."""

from __future__ import annotations

import pickle
from itertools import chain

from support.queues import cells, evaluations
from support.records import make_cell

from stn_cluster.evaluations import Evaluation
from stn_cluster.grid import Cell
from stn_cluster.queue import submission as module
from stn_cluster.queue.jobs import Job
from stn_cluster.queue.submission import Submission


def test_rows_are_those_of_a_jobs_cells_and_then_of_its_evaluations() -> None:
    job = Job("j", cells(3), evaluations=evaluations(*cells(2)), config='{"name": "grid"}')
    sent = Submission.of(job)
    assert (sent.job_id, sent.config, sent.digest) == (job.job_id, job.config, job.digest)
    rows = list(chain.from_iterable(sent.rows()))
    for row, item in zip(rows, job.items, strict=True):
        assert (row.key, row.label, row.recipe) == (item.key, item.label, item.recipe)
        assert (row.cost, row.needs, row.evaluates) == (item.cost, item.needs.text, item.evaluates)
        kind = Cell if row.evaluates is None else Evaluation
        assert kind.model_validate_json(row.spec) == item
    assert len({row.stream for row in rows[:3]}) == 3  # of cells that share no images


def test_no_part_has_both_cells_and_evaluations_and_none_is_large() -> None:
    first = make_cell(seed=0)
    many = (first, *(first.with_seed(seed) for seed in range(1, module.PART + 2)))
    sent = Submission.of(Job("j", many, evaluations=evaluations(first)))
    parts = list(sent.rows())
    assert [len(rows) for rows in parts] == [module.PART, 2, 1]
    assert [{row.evaluates is None for row in rows} for rows in parts] == [{True}, {True}, {False}]


def test_cells_of_a_grid_take_few_bytes() -> None:
    first = make_cell(seed=0)
    many = (first, *(first.with_seed(seed) for seed in range(1, 1000)))
    assert len(pickle.dumps(Submission.of(Job("j", many)))) < 50 * len(many)
