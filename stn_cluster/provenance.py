"""Provenance of results: the commit of the running code."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

import stn_cluster


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """The commit of the running code, '+' behind it if files differ; None outside a checkout."""
    folder = Path(stn_cluster.__file__).parent
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env=environment,
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return None  # installed inside some other project's checkout
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder))
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
