"""Settings of a service: what belongs to its machines and not to an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cluster.errors import UserError, unknown

STATE_FOLDER = "queue"  # of a local store: where the state is unless told otherwise


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a coordinator and its workers; times in seconds.

    Raises:
        UserError: a value makes no sense; the message names it.
    """

    store: str  # URI that every node reaches
    state: str  # folder on the coordinator's own disk: the queue is there
    data_root: str | None = None  # a folder on every node, for data sets that live in files
    workers: int | None = None  # at most; None: as many as the present nodes can hold
    gpu: bool = False  # workers have a GPU each unless their cells say otherwise, else a core
    threads_per_worker: int = 1  # of arithmetic, on a CPU
    cells_per_pack: int | None = None  # at most; None: by the device and the cell
    checkpoint_seconds: float = 30.0  # between checkpoints of running cells
    checkpoint_steps: int | None = None  # or every so many steps, if that comes first
    lease_seconds: float = 60.0  # without a heartbeat, after which a worker is given up
    heartbeat_seconds: float = 2.0  # between two heartbeats of a worker
    idle_seconds: float = 60.0  # after which a worker without work is stopped
    cancel_grace_seconds: float = 10.0  # for a cancelled cell to come to the end of its step
    max_failed_starts: int | None = None  # workers in a row that fail to start; then it gives up
    only_job: str | None = None  # train no other job's cells
    plugins: tuple[str, ...] = ()  # modules that its workers import, whatever a job names
    runner: str = "stn_cluster.cluster.pack_runner:PackRunner"  # trains packs in a worker

    def __post_init__(self) -> None:
        for name in ("workers", "threads_per_worker", "cells_per_pack", "checkpoint_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name.replace('_', ' ')}: at least 1, not {value}")
        if self.checkpoint_seconds <= 0:
            raise UserError(f"checkpoint seconds: more than 0, not {self.checkpoint_seconds}")

    @property
    def scan_seconds(self) -> float:
        """Between two looks for leases that have run out."""
        return min(5.0, self.lease_seconds / 4)


def make_settings(
    store: str | Path,
    *,
    state: str | Path | None = None,
    data_root: str | Path | None = None,
    **others: Any,
) -> Settings:
    """The settings with all places by their full paths: processes run in folders of their own.

    Args:
        store: a folder or URI.
        state: default: a folder in a local store.
        data_root: where data sets that live in files have them.
        others: fields of `Settings`.

    Raises:
        UserError: the store is not on a disk and there is no `state`; its URI is not one; or a
            value makes no sense.
    """
    from stn_cluster.store import Store, redact

    for name in others:
        if name not in Settings.__dataclass_fields__:
            raise UserError(unknown("setting", name, Settings.__dataclass_fields__))
    # By its scheme: an object store is not asked, which takes a network.
    on_disk = "://" not in str(store) or str(store).startswith("file:")
    local = Store.place(str(store)) if on_disk else None
    if state is None:
        if local is None:
            raise UserError(
                f"{redact(str(store))}: a store that is not on this machine needs --state FOLDER"
            )
        state = local / STATE_FOLDER
    return Settings(
        store=str(local.resolve()) if local else str(store),
        state=str(Path(state).resolve()),
        data_root=str(Path(data_root).resolve()) if data_root else None,
        **others,
    )
