"""How a service works: what belongs to its machines and not to an experiment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Of a coordinator and its workers; times in seconds."""

    store: str  # URI that every node reaches
    state: str  # folder on the coordinator's own disk: the queue is there
    data_root: str | None = None  # a folder on every node
    workers: int | None = None  # at most; None: as many as the present nodes can hold
    gpu: bool = False  # workers have a GPU each unless their cells say otherwise, else a core
    threads_per_worker: int = 1  # of arithmetic, on a CPU
    cells_per_pack: int | None = None  # at most; None: by the device and the cell
    checkpoint_seconds: float = 30.0  # between checkpoints of running cells
    checkpoint_steps: int | None = None  # or every so many steps, if that comes first
    lease_seconds: float = 60.0  # of silence, after which a worker is given up
    beat_seconds: float = 2.0  # between two words of a worker
    idle_seconds: float = 60.0  # after which a worker without work is let go
    grace_seconds: float = 10.0  # for a cancelled cell to come to the end of its step
    give_up_after: int | None = None  # workers in a row that die before they begin
    only_job: str | None = None  # train no other job's cells
    plugins: tuple[str, ...] = ()  # modules that its workers have, whatever a job names
    runner: str = "stn_cluster.cluster.pack_runner:PackRunner"  # what trains packs in a worker

    @property
    def scan_seconds(self) -> float:
        """Between two looks for leases that have run out."""
        return min(5.0, self.lease_seconds / 4)
