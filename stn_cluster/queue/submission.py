"""A job as it is sent to the queue: its cells as rows, in compressed parts.

A cell of a job takes some kilobytes as an object, and some bytes here: those of a grid are alike,
and pickle writes what they share once.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from stn_cluster.evaluations import WorkItem
from stn_cluster.queue.jobs import Job

PART = 2000  # rows
LEVEL = 1  # of compression


class ItemRow(NamedTuple):
    """A cell or an evaluation, as far as the queue needs it."""

    key: str
    spec_parts: tuple[str, ...]  # of the JSON of the cell or the evaluation
    label: str
    stream: str
    needs: str  # see `Needs.text`
    cost: float
    recipe: str  # the job's name of it
    evaluates: str | None  # key of the cell that it evaluates; None: it is a cell

    @classmethod
    def of(cls, item: WorkItem) -> ItemRow:
        """Row of a cell or an evaluation."""
        stream = str(tuple(item.stream))
        texts = item.label, stream, item.needs.text
        return cls(item.key, item.spec_parts, *texts, item.cost, item.recipe, item.evaluates)

    @property
    def spec(self) -> str:
        """JSON of the cell or the evaluation."""
        return "".join(self.spec_parts)


@dataclass(frozen=True)
class Submission:
    """A job without its items, and these as rows."""

    job_id: str
    config: str  # this and the next: see `Job`
    folder: str | None
    force: bool
    priority: int
    digest: str
    parts: tuple[bytes, ...]

    @classmethod
    def of(cls, job: Job) -> Submission:
        """Makes it from a job."""
        own = {
            field.name: getattr(job, field.name) for field in fields(cls) if field.name != "parts"
        }
        kinds = (job.cells, job.evaluations)
        return cls(**own, parts=tuple(part for kind in kinds for part in _parts(kind)))

    def rows(self) -> Iterator[list[ItemRow]]:
        """Its items, part by part: first all cells, then evaluations."""
        for part in self.parts:
            yield [ItemRow(*row) for row in pickle.loads(zlib.decompress(part))]


def _parts(items: Sequence[WorkItem]) -> Iterator[bytes]:
    for start in range(0, len(items), PART):
        rows = [tuple(ItemRow.of(item)) for item in items[start : start + PART]]
        yield zlib.compress(pickle.dumps(rows), LEVEL)
