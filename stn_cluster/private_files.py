"""Folders and files of ours that other users of the machine can neither read nor change.

Where a folder is writable by its group, the group works together, and keeps what it has.
"""

from __future__ import annotations

import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stn_cluster.errors import UserError

OWNER_ALONE, WITH_GROUP = 0o077, 0o007  # umasks
_GROUP_WRITES, _OTHERS, _OTHERS_WRITE = 0o020, 0o007, 0o002


def umask_for(*folders: Path) -> int:
    """Umask for what is made in folders, which need not be there yet."""
    return WITH_GROUP if any(map(_is_of_group, folders)) else OWNER_ALONE


@contextmanager
def closed_to_others(*folders: Path) -> Iterator[None]:
    """Within the block, what this process and its children make is closed to other users."""
    before = os.umask(umask_for(*folders))
    try:
        yield
    finally:
        os.umask(before)


def close_folder(folder: Path) -> None:
    """Takes from other users what they may do with a folder of ours, and the files in it.

    Raises:
        UserError: others may read or change one, and it belongs to somebody else.
    """
    if folder.is_dir():
        mask = umask_for(folder)
        close_file(folder, mask)
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink():
                close_file(path, mask)


def refuse_writable(folder: Path) -> bool:
    """Takes from other users that they may put something into a folder of ours.

    Returns:
        Whether they could: then what it has may be of their making.

    Raises:
        UserError: they may, and it belongs to somebody else; or they have, or may have: it has
            something of somebody else's, or a link.
    """
    if not folder.is_dir() or not folder.stat().st_mode & _OTHERS_WRITE:
        return False
    close_file(folder, _OTHERS_WRITE)
    for path in folder.iterdir():
        found = path.lstat()
        linked = stat.S_ISLNK(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink > 1)
        if linked or found.st_uid != os.geteuid():
            what = "a link" if linked else "somebody else's"
            raise UserError(
                f"{path}: is {what}, in a folder into which everybody could put something until "
                "now: remove it, or name another folder"
            )
    return True


def close_file(path: Path, mask: int = OWNER_ALONE) -> None:
    """Takes the rights of a mask from a file or folder.

    Raises:
        UserError: others have such rights, and it belongs to somebody else.
    """
    try:
        found = path.stat()
    except FileNotFoundError:  # such as SQLite's own, which come and go
        return
    mode = stat.S_IMODE(found.st_mode)
    if not mode & mask:
        return
    if found.st_uid != os.geteuid():
        what = "change" if mode & _OTHERS_WRITE else "read"
        raise UserError(
            f"{path}: other users of this machine may {what} it, and it is not yours: its owner "
            f"can close it: chmod {mode & ~mask:o} {path}"
        )
    path.chmod(mode & ~mask)


def make_lock_file(file: Path) -> None:
    """Makes a file for a lock, if there is none; it belongs to whom its folder belongs.

    Root may work in a folder of another user, who is to go on there afterwards. Only what is made
    here is given away: what was there before may be a link to anything.

    Raises:
        OSError: it cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:  # whoever can read it could hold it
        descriptor = os.open(file, flags, 0o666 & ~umask_for(file.parent))
    except FileExistsError:
        return
    try:
        give_to_owner_of(file.parent, descriptor)
    finally:
        os.close(descriptor)


def give_to_owner_of(folder: Path, made: int) -> None:
    """Gives an open file, or folder, to the owner and the group of a folder, as far as this process
    may."""
    found, own = folder.stat(), os.fstat(made)
    if found.st_uid != own.st_uid:
        with suppress(PermissionError):
            os.fchown(made, found.st_uid, found.st_gid)


def why_not_ours(file: Path, error: OSError) -> str | None:
    """Whom a file belongs to that this process was not permitted to use, for people; None if the
    error is another one, or it belongs to this process."""
    if not isinstance(error, PermissionError):
        return None
    try:
        owner = file.stat().st_uid
    except OSError:
        return None
    me = os.geteuid()
    if owner == me:
        return None
    return f"it belongs to {_user(owner)}, and this is {_user(me)}: chown {_user(me)} {file}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def write_private(path: Path, text: str) -> None:
    """Makes or replaces a file that its owner alone can read; it is there as a whole or not."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A name that nobody can have taken, for a file or a link of theirs.
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:  # such as a full disk
        new.unlink(missing_ok=True)
        raise


def _is_of_group(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, is writable by its group.

    Folders in which everybody may make something, such as /tmp, are no group's.
    """
    there = next((one for one in (folder, *folder.parents) if one.is_dir()), None)
    if there is None:
        return False
    mode = there.stat().st_mode
    return bool(mode & _GROUP_WRITES) and not mode & (stat.S_ISVTX | _OTHERS_WRITE)
