"""The lock of a store on a local disk, which one service holds at a time."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from stn_cluster.errors import HeldError, StoreError, UserError
from stn_cluster.private_files import close_file, make_lock_file, umask_for, why_not_ours


def lock(folder: Path, wait: float) -> ExitStack:
    """Locks a store's folder until closed, or until this process ends.

    Raises:
        StoreError: another service holds the store, and did so for `wait` seconds.
    """
    held = ExitStack()
    file = folder / "lock"
    with suppress(UserError):  # somebody else's, in a folder of a group
        close_file(file, umask_for(folder))  # whoever can read it could hold it
    try:  # thread_local=False: any thread may release it
        make_lock_file(file)
        held.enter_context(FileLock(file, timeout=wait, thread_local=False))
    except Timeout:
        raise HeldError(f"another service holds this store: {folder}") from None
    except OSError as error:
        reason = why_not_ours(file, error) or error.strerror
        raise StoreError(f"{file}: cannot be locked: {reason}") from error
    return held
