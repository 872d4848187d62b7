"""Settings of a service: those of its machines, not of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cluster.errors import UserError, unknown
from stn_cluster.paths import user_path

STATE_FOLDER = "queue"  # folder in a local store: the default place of the state
LEASE_SECONDS = 60.0  # default; an attempt ends if its worker is silent for as long


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a coordinator and its workers; times in seconds.

    Raises:
        UserError: a value is invalid; the message names it.
    """

    store: str  # path or URI that all nodes can reach
    state: str  # folder on the coordinator's own disk, for the queue
    data_root: str | None = None  # folder of data files, the same path on every node
    workers: int | None = None  # maximum number; None: as many as the present nodes can hold
    gpu: bool = False  # whether workers have a GPU each, unless their cells' needs differ
    threads_per_worker: int = 1  # arithmetic threads on a CPU
    cells_per_pack: int | None = None  # maximum number; None: depends on the device and the cell
    checkpoint_seconds: float = 30.0  # time between checkpoints of running cells
    checkpoint_steps: int | None = None  # steps between checkpoints, if that is sooner
    lease_seconds: float = LEASE_SECONDS  # time without a heartbeat after which a worker is lost
    heartbeat_seconds: float = 2.0  # time between two heartbeats of a worker
    idle_seconds: float = 60.0  # time after which an idle worker is stopped
    cancel_grace_seconds: float = 10.0  # time for a cancelled cell to finish its step
    no_progress_seconds: float = 1800.0  # time without progress after which a worker is ended
    max_failed_starts: int | None = None  # failed starts in a row after which the service gives up
    only_job: str | None = None  # id of a job: train only its cells
    evaluations_only: bool = False  # nothing is trained: then the store may be a published one
    notify: tuple[str, ...] = ()  # digests of those who are told of ended jobs and failed cells
    plugins: tuple[str, ...] = ()  # modules whose components jobs over HTTP may use
    runner: str = "stn_cluster.cluster.pack_runner:PackRunner"  # class that trains packs

    def __post_init__(self) -> None:
        for name in ("workers", "threads_per_worker", "cells_per_pack", "checkpoint_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name.replace('_', ' ')}: at least 1, not {value}")
        for name in ("checkpoint_seconds", "no_progress_seconds", "lease_seconds"):
            value = getattr(self, name)
            if not value > 0:
                raise UserError(f"{name.replace('_', ' ')}: more than 0, not {value}")

    @property
    def folders(self) -> tuple[Path, ...]:
        """Its folders on this machine: that of the state, and that of a local store."""
        local = (Path(self.store),) if "://" not in self.store else ()
        return (Path(self.state), *local)

    @property
    def scan_seconds(self) -> float:
        """Time between two checks for expired leases."""
        return min(5.0, self.lease_seconds / 4)


def make_settings(
    store: str | Path,
    *,
    state: str | Path | None = None,
    data_root: str | Path | None = None,
    **others: Any,
) -> Settings:
    """Makes settings with absolute paths, as Ray's processes have other working folders; makes no
    folder.

    Args:
        store: path or URI of the store.
        state: folder of the queue; default: a folder in a local store.
        data_root: folder of data files.
        others: fields of `Settings`.

    Raises:
        UserError: the store is not on a disk and there is no `state`; its URI is invalid; or a
            value is invalid.
    """
    from stn_cluster.store import Store, redact, without_end

    for name in others:
        if name not in Settings.__dataclass_fields__:
            raise UserError(unknown("setting", name, Settings.__dataclass_fields__))
    # Decided by the scheme alone, so that no object store is contacted.
    on_disk = "://" not in str(store) or str(store).startswith("file:")
    local = Store.place(str(store)) if on_disk else None
    if state is None:
        if local is None:
            raise UserError(
                f"{redact(str(store))}: a store that is not on this machine needs --state FOLDER"
            )
        state = local / STATE_FOLDER
    return Settings(
        store=str(local.resolve()) if local else without_end(str(store)),
        state=str(user_path(state).resolve()),
        data_root=str(user_path(data_root).resolve()) if data_root else None,
        **others,
    )
