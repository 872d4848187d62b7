"""A worker: a long-lived Ray actor that trains packs, one per CPU core or GPU."""

from __future__ import annotations

from collections.abc import Iterator

import ray

from stn_cluster.cluster.messages import Assignment, Report, WorkerInfo


@ray.remote(max_concurrency=2)  # `stop` is answered while `train` runs
class Worker:
    """A `Runner` in a process of its own; see there."""

    def __init__(
        self, store: str, data_root: str | None, threads: int, checkpoint_seconds: float
    ) -> None:
        # Here, so that the coordinator, which only names this class, starts without torch.
        from stn_cluster.cluster.runner import Runner

        device = "cuda" if ray.get_gpu_ids() else "cpu"
        self._runner = Runner(store, data_root, threads, checkpoint_seconds, device)

    def info(self) -> WorkerInfo:
        """Where it runs."""
        return self._runner.info()

    def stop(self) -> None:
        """Ends the pack in training at its next step, with a checkpoint."""
        self._runner.stop()

    def train(self, pack: tuple[Assignment, ...]) -> Iterator[Report]:
        """A streaming generator: see `Runner.train`."""
        yield from self._runner.train(pack)
