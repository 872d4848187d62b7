"""A runner that follows a script instead of training, for the tests of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.queue.attempts import Attempt, WorkerInfo
from stn_cluster.training.activity import Activity

NAME = "support.runners:ScriptedRunner"  # for `Settings.runner`
Script = Callable[[Sequence[Attempt], AttemptLog], Iterator[Report]]


def nothing(pack: Sequence[Attempt], log: AttemptLog) -> Iterator[Report]:
    """A script without a report."""
    yield from ()


class ScriptedRunner:
    """Runner that follows a script; see `PackRunner` for the interface.

    Args:
        settings: the service's.
        device: 'cpu' or 'cuda'.
    """

    script: Script = staticmethod(nothing)  # of all runners; a test sets it
    made: list[ScriptedRunner] = []  # all runners, the newest last

    def __init__(self, settings: Settings, device: str) -> None:
        self.settings = settings
        self.device = device
        self.degraded_reason: str | None = None
        self.activity = Activity()
        self.stopped = False
        self.dropped: set[str] = set()
        ScriptedRunner.made.append(self)

    def info(self) -> WorkerInfo:
        return WorkerInfo("here", self.device, "2.11")

    def stop(self) -> None:
        self.stopped = True

    def drop(self, attempts: set[str]) -> None:
        self.dropped |= attempts

    def train(self, pack: Sequence[Attempt], log: AttemptLog) -> Iterator[Report]:
        return type(self).script(pack, log)
