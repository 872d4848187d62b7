"""State folder of a service, on the coordinator's machine, locked by one service at a time."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from stn_cluster.errors import HeldError, StoreError
from stn_cluster.paths import check_folder
from stn_cluster.private_files import (
    close_folder,
    closed_to_others,
    make_lock_file,
    why_not_ours,
)


def check_state_folder(folder: Path) -> None:
    """Checks that the folder is there or can be made, and leaves nothing behind.

    Raises:
        StoreError: it cannot be made.
    """
    try:
        check_folder(folder)
    except OSError as error:
        raise _unusable(folder, error) from error


def lock_state_folder(folder: Path, wait: float = 0, what: str = "service") -> ExitStack:
    """Makes the folder and locks it until closed, or until the process ends.

    Raises:
        StoreError: it cannot be made, or another service (or other `what`) still holds it after
            `wait` seconds.
    """
    held = ExitStack()
    try:
        with closed_to_others(folder):
            folder.mkdir(parents=True, exist_ok=True)
        close_folder(folder)
        make_lock_file(folder / "lock")
        held.enter_context(FileLock(folder / "lock", timeout=wait, thread_local=False))
    except Timeout:
        raise HeldError(f"another {what} holds this state folder: {folder}") from None
    except OSError as error:
        if whose := why_not_ours(folder / "lock", error):
            raise StoreError(f"{folder / 'lock'}: cannot be locked: {whose}") from error
        raise _unusable(folder, error) from error
    return held


def _unusable(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"{folder}: cannot hold the service's state: {error.strerror}")
