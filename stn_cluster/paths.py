"""Paths as users write them, and folders that can be made."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from stn_cluster.errors import UserError


def user_path(given: str | os.PathLike[str]) -> Path:
    """The path, with `~` or `~name` at its beginning replaced by that home folder.

    A shell does so only at the beginning of a word: not in `--store=~/store`, in a file of
    environment variables, or in Python.

    Raises:
        UserError: there is no such home folder, or it cannot be the path of a file.
    """
    text = os.fspath(given)
    if "\0" in text:
        raise UserError(f"{text!r}: a path cannot contain a null character")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        home = text.partition("/")[0]
        raise UserError(f"{text}: there is no home folder {home}; give a full path") from None


def check_folder(folder: Path) -> None:
    """Checks that a folder exists, or can be made, and can be written to; leaves nothing behind.

    Trying it is more reliable than reading permissions.

    Raises:
        OSError: it is a file, or cannot be made or written to.
    """
    new = list(takewhile(lambda place: not place.exists(), (folder, *folder.parents)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    finally:
        for made in new:
            with suppress(OSError):
                made.rmdir()
