"""Watchdog: ends workers that are silent, hang, or do not come to an end, and says which hang."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping

from stn_cluster.cluster.leases import Leases
from stn_cluster.cluster.placement import WorkerState
from stn_cluster.cluster.reachability import Reachability
from stn_cluster.cluster.requeuer import Requeuer
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.stalls import duration, ends, limit_of, line, notice
from stn_cluster.cluster.worker_pool import WorkerHandle, WorkerLostError, WorkerPool
from stn_cluster.queue.attempts import AttemptEnd, ExitReason

START_SECONDS = 600.0  # for a worker's process to say hello; on a slow disk, imports take minutes
LEAST_SILENCE = 5.0  # of a worker until it is looked whether its node can be reached
MISSED_HEARTBEATS = 3  # the same, if heartbeats are slow
LOOK_SECONDS = 1.0  # between two looks at silent nodes
STOP_GRACE_SECONDS = 5.0  # without progress, and a worker that is to stop is not waited for


class Watchdog:
    """Looks at all workers again and again.

    Args:
        settings: settings of the service.
        pool: the workers.
        leases: the running attempts.
        requeuer: requeues the cells of workers that are ended.
    """

    def __init__(
        self, *, settings: Settings, pool: WorkerPool, leases: Leases, requeuer: Requeuer
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._leases = leases
        self._requeuer = requeuer
        self._reachability = Reachability()
        # Of workers whose nodes could not be reached: the last sign of life before that.
        self._cut_off: dict[str, float] = {}

    async def run(self) -> None:
        """Scans at regular intervals; ends only when cancelled."""
        while True:
            due = time.monotonic() + self._settings.scan_seconds
            while (left := due - time.monotonic()) > 0:
                await asyncio.sleep(min(left, LOOK_SECONDS))
                await self._look_at_silent_nodes(time.monotonic())
            await self._scan_leases(time.monotonic())
            for worker in list(self._pool.workers.values()):
                now = time.monotonic()  # asked now, like its state: it may have become idle
                if worker.state is WorkerState.STARTING:
                    self._scan_start(worker, now)
                elif worker.state is WorkerState.BUSY:
                    await self._scan_busy(worker, now)

    async def give_up(
        self,
        worker: WorkerHandle,
        reason: ExitReason,
        message: str,
        others: Mapping[str, AttemptEnd] | None = None,
    ) -> None:
        """Kills a worker and requeues its cells; see `Requeuer.begin`."""
        self._pool.remove(worker)
        if worker.task:
            worker.task.cancel()
        await self._requeuer.requeue(worker.name, reason, message, others)

    def give_up_if_stuck(
        self, worker: WorkerHandle, asked: float, now: float, seconds: float
    ) -> None:
        """Kills a worker that makes no progress since it was asked to stop; in any case after
        `seconds`. Does not wait for the queue, whose disk may be full."""
        progressed = worker.stall.since if worker.stall else worker.heard_at
        stuck = now - max(asked, progressed) >= STOP_GRACE_SECONDS
        if stuck or now - asked >= seconds:
            self._pool.remove(worker)
            if worker.task:
                worker.task.cancel()
            self._requeuer.begin(worker.name, ExitReason.INTERRUPTED, "it did not stop in time")

    def was_cut_off(self, worker: WorkerHandle) -> bool:
        """Whether a worker has given no sign of life since its node could not be reached.

        The node may be back: what was sent meanwhile is sent again late, as TCP doubles its pauses.
        """
        return self._cut_off.get(worker.name) == worker.heard_at

    @property
    def has_lines(self) -> bool:
        """Whether there may be `lines`."""
        stalled = any(worker.stall for worker in self._pool.workers.values())
        return stalled or bool(self._reachability.since)

    def lines(self, keys: Collection[str], now: float) -> tuple[str, ...]:
        """Lines for people about packs with these cells: of those on a node that cannot be reached,
        and of those that have made no progress for a while; with no keys, on all such nodes."""
        found = [*self._unreachable(keys, now)]
        for worker in self._pool.workers.values():
            leases = self._leases.of(worker.name)
            if worker.state is not WorkerState.BUSY or worker.stall is None or not leases:
                continue
            limit = limit_of(worker.stall, leases, self._settings)
            if now - worker.stall.since < notice(limit):
                continue
            if any(lease.attempt.item.key in keys for lease in leases):
                found.append(line(worker.stall, leases, worker.info, limit))
        return tuple(found)

    def _unreachable(self, keys: Collection[str], now: float) -> Iterator[str]:
        """Lines on nodes that cannot be reached, with how many of these cells they have."""
        for node, since in self._reachability.since.items():
            workers = [w for w in self._pool.workers.values() if w.info.node == node]
            leases = [lease for w in workers for lease in self._leases.of(w.name)]
            count = sum(lease.attempt.item.key in keys for lease in leases)
            away = f"cannot be reached for {now - since:.0f} s"
            if count:
                cells = "1 cell" if count == 1 else f"{count} cells"
                yield (
                    f"{workers[0].info.host} {away}, with "
                    f"{cells} that its workers train: queued again, and not charged, after "
                    f"{duration(self._settings.lease_seconds)}"
                )
            elif not keys:  # such as cells that are queued again
                address = next((n.address for n in self._pool.nodes if n.node_id == node), node)
                yield f"the node {address} {away}"

    async def _look_at_silent_nodes(self, now: float) -> None:
        """Finds out which nodes cannot be reached, of those whose workers are silent."""
        silent = max(LEAST_SILENCE, MISSED_HEARTBEATS * self._settings.heartbeat_seconds)
        heard_at: dict[str, float] = {}
        suspects: set[str] = set()
        for worker in self._pool.workers.values():
            node = worker.info.node
            heard_at[node] = max(heard_at.get(node, 0.0), worker.heard_at)
            if worker.state is WorkerState.BUSY and now - worker.heard_at > silent:
                suspects.add(node)
        heard_at = {node: heard_at[node] for node in suspects}
        if heard_at or self._reachability.since:
            await self._reachability.look(self._pool.nodes, heard_at)
        workers = self._pool.workers
        known = {name: at for name, at in self._cut_off.items() if name in workers}
        away = self._reachability.since
        self._cut_off = known | {
            worker.name: worker.heard_at for worker in workers.values() if worker.info.node in away
        }

    async def _scan_leases(self, now: float) -> None:
        """Gives up workers that have sent no heartbeat for a lease."""
        for name in {lease.worker for lease in self._leases.expired(now)}:
            if not any(x.deadline < now and not x.finishing for x in self._leases.of(name)):
                continue  # a report came while another worker was given up
            worker = self._pool.workers.get(name)
            # Ray may need longer than a lease to give up a node that is out of reach.
            away = worker is not None and self.was_cut_off(worker)
            gone = away or (worker is not None and self._pool.node_is_lost(worker.info))
            reason = ExitReason.NODE_LOST if gone else ExitReason.EXPIRED
            message = f"its worker was not heard of for {self._settings.lease_seconds:g} s"
            if away:
                message += ", as its node could not be reached"
            if worker is None:
                await self._requeuer.requeue(name, reason, message)
            else:
                await self.give_up(worker, reason, message)

    def _scan_start(self, worker: WorkerHandle, now: float) -> None:
        """Gives up a worker whose process runs and does not come to its hello."""
        seconds = min(START_SECONDS, self._settings.no_progress_seconds)
        if worker.heard_at and now - worker.heard_at > seconds and worker.task:
            error = WorkerLostError(f"its process runs, but is not ready after {duration(seconds)}")
            self._pool.failed_to_start(worker.needs, error, now)
            worker.task.cancel()

    async def _scan_busy(self, worker: WorkerHandle, now: float) -> None:
        """Gives up a worker that does not end a cancelled cell, makes no progress, or does not
        come back."""
        settings = self._settings
        leases = [lease for lease in self._leases.of(worker.name) if not lease.finishing]
        asked_at = min(worker.cancel_requested_at.values(), default=now)
        if now - asked_at > settings.cancel_grace_seconds:
            message = "its worker was ended with a cancelled cell that did not stop"
            await self.give_up(worker, ExitReason.INTERRUPTED, message)
        elif now - worker.heard_at > 2 * settings.lease_seconds:
            await self.give_up(worker, ExitReason.EXPIRED, "its worker does not come back")
        elif worker.stall is not None and leases:
            limit = limit_of(worker.stall, leases, settings)
            # By the last report: if this process was held up, newer ones may wait unread.
            if worker.heard_at - worker.stall.since > limit:
                others = ends(worker.stall, leases, limit)
                message = "its worker made no progress"
                await self.give_up(worker, ExitReason.INTERRUPTED, message, others)
