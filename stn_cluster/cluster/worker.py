"""Worker: a long-lived Ray actor that trains packs, one per CPU core or GPU.

A separate thread sends heartbeats with the pack's progress to the coordinator, which returns the
attempts that the worker has no lease on any more. If no heartbeat was acknowledged for the duration
of a lease, the worker ends itself, as its cells are requeued by then.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import ray
from ray.exceptions import RayError

from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.protocol import Report, Stall
from stn_cluster.cluster.ray_session import close_session
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.stalls import limit, notice
from stn_cluster.private_files import umask_for
from stn_cluster.queue.attempts import Attempt, WorkerInfo
from stn_cluster.thread_binding import unbind
from stn_cluster.training.activity import Doing
from stn_cluster.training.outcome import Outcome

LEASE_LOST = 75  # exit code
RETRY_SECONDS = 0.5
STALL_SECONDS = 1.0  # without progress, and the coordinator is told; longer than most steps


class RestartedError(Exception):
    """Ray has restarted a worker, which it may not: its coordinator starts another one."""


@dataclass(frozen=True)
class ReportCall:
    """Calls the coordinator's `report` from a worker's process."""

    coordinator: Any  # the actor

    def __call__(self, worker: str, report: Report, seconds: float) -> set[str]:
        """Sends a report; returns the attempts that the worker has no lease on any more.

        Raises:
            ConnectionError: no response within `seconds`: the coordinator or the network is
                unavailable.
        """
        try:
            lost: set[str] = ray.get(
                self.coordinator.report.remote(worker, report), timeout=seconds
            )
        except RayError as error:
            raise ConnectionError("the coordinator does not answer") from error
        return lost


class Worker:
    """Ray actor around a `PackRunner`: reports its progress, sends heartbeats.

    Args:
        name: unique name of the worker.
        settings: settings of the service.
        device: 'cpu' or 'cuda'.
        report: sends a report to the coordinator; see `ReportCall`.

    Raises:
        RestartedError: the worker had died.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        device: str,
        report: Callable[[str, Report, float], set[str]],
    ) -> None:
        if ray.is_initialized() and ray.get_runtime_context().was_current_actor_reconstructed:
            raise RestartedError("its worker process has died")
        if ray.is_initialized():  # in a process of its own
            os.umask(umask_for(*settings.folders))
            close_session()  # on its own machine
        self.name = name
        self.settings = settings
        self._send = report
        with suppress(ConnectionError):  # its first sign of life: what follows may hang
            report(name, Report(), settings.lease_seconds)
        unbind()
        # Imported here, so that the coordinator, which imports this class, does not load torch.
        module, _, runner = settings.runner.partition(":")
        self._runner = getattr(import_module(module), runner)(settings, device)
        self._log = AttemptLog(name)
        self._lock = threading.Lock()  # for the next two
        self._latest = Report()  # progress that is not reported yet
        self._ended: dict[str, Outcome] = {}  # results that are not reported yet
        self._sending = threading.Lock()  # held by whoever reports them
        self._returned: Report | None = None  # until it is known to have arrived
        self._training = threading.Event()
        self._pack: Sequence[Attempt] = ()
        self._thread: int | None = None  # id of the thread that trains
        self._shown: float | None = None  # when the stall began whose code is in the log
        self._acknowledged = time.monotonic()  # time when the last acknowledged report was sent
        threading.Thread(target=self._send_heartbeats, name="heartbeat", daemon=True).start()

    def hello(self) -> WorkerInfo:
        """Waits until the worker has started; returns its host, device, node and process."""
        info: WorkerInfo = self._runner.info()
        return replace(info, node=ray.get_runtime_context().get_node_id())

    def stop(self) -> None:
        """Ends the current pack at its next step, with a checkpoint."""
        self._runner.stop()

    def train(self, pack: Sequence[Attempt]) -> Report:
        """Trains a pack to its end; reports results as they come, and returns the last report.

        What it returns is lost if the connection breaks: if no other pack follows, it is reported.
        """
        self._acknowledged = time.monotonic()
        self._returned = None  # whoever has another pack for it has the last one's end
        # Until it is known better: so that they can be cancelled while they are loaded.
        self._latest = Report(steps={attempt.id: 0 for attempt in pack})
        self._pack, self._thread = pack, threading.get_ident()
        self._runner.activity.begin("starts")
        self._training.set()
        try:
            with self._log.gathering([attempt.id for attempt in pack]):
                for report in self._runner.train(pack, self._log):
                    self._note(report)
                    if report.ended and report.steps:  # others go on: this is not the end
                        self._report()
            with self._sending:
                self._returned = self._take_report()
            return self._returned
        except BaseException as error:  # the process is unusable: for example, out of memory
            self._report_last_lines(pack, error)
            raise
        finally:
            self._training.clear()

    def _note(self, report: Report) -> None:
        with self._lock:
            self._ended |= report.ended
            self._latest = replace(
                self._latest,
                steps=report.steps,
                started={**self._latest.started, **report.started},
                saved={**self._latest.saved, **report.saved},
            )

    def _report(self) -> None:
        """Reports the pack's progress, and waits for the response."""
        with self._sending:
            lost = self._deliver(self._take_report())
            self._log.delivered()
        self._runner.drop(lost)

    def _take_report(self) -> Report:
        """The pack's progress since the last report."""
        with self._lock:
            stall = self._stall()
            report = replace(
                self._latest,
                ended=self._ended,
                log=self._log.take(),
                degraded_reason=self._runner.degraded_reason,
                stall=stall,
            )
            self._latest, self._ended = Report(steps=report.steps, saved=report.saved), {}
        return report

    def _stall(self) -> Stall | None:
        """What the pack is doing, if it has made no progress for a while."""
        doing = self._runner.activity.now
        seconds = time.monotonic() - doing.since
        if seconds < STALL_SECONDS:
            return None
        told = notice(limit((attempt.item for attempt in self._pack), self.settings))
        if seconds >= told and self._shown != doing.since:
            self._shown = doing.since
            self._log_stall(doing, seconds)
        return Stall(seconds, doing.what, doing.keys)

    def _log_stall(self, doing: Doing, seconds: float) -> None:
        """Adds the code that runs to the logs of the cells whose code it is."""
        frame = sys._current_frames().get(self._thread or 0)
        code = "".join(traceback.format_stack(frame)).rstrip() if frame else "unknown"
        for attempt in self._pack:
            if attempt.item.key in doing.keys or not doing.keys:
                text = f"no progress for {seconds:.0f} s: it {doing.what}; the code that runs:"
                self._log.line(attempt.id, f"{text}\n{code}")

    def _report_last_lines(self, pack: Sequence[Attempt], error: BaseException) -> None:
        """Adds a fatal error to the attempts' logs, and reports them while still possible."""
        with suppress(Exception):  # best effort: the error itself is raised in any case
            for attempt in pack:
                self._log.line(attempt.id, "".join(traceback.format_exception(error)).rstrip())
            self._report()

    def _deliver(self, report: Report) -> set[str]:
        """Sends a report, and retries until it is acknowledged (a duplicate has no effect). Ends
        the process when the lease expires, as its cells are then requeued."""
        while True:
            sent = time.monotonic()
            left = self._acknowledged + self.settings.lease_seconds - sent
            if left <= 0:
                os._exit(LEASE_LOST)
            try:
                lost = self._send(self.name, report, left)
            except ConnectionError:
                time.sleep(min(RETRY_SECONDS, left))
            else:
                self._acknowledged = max(self._acknowledged, sent)
                return lost

    def _send_heartbeats(self) -> None:
        """Reports at regular intervals, in a separate thread, until the process ends."""
        returned: Report | None = None
        while True:
            time.sleep(self.settings.heartbeat_seconds)
            if self._training.is_set():
                self._report()
            elif returned is not None and returned is self._returned:  # no pack since the last beat
                self._deliver(returned)
                self._returned = None
            returned = self._returned
