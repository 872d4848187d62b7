"""Provenance of results: the commit of the running code."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

import stn_cluster


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """Commit of the running code, with a '+' if files differ from it; None outside a checkout."""
    folder = Path(stn_cluster.__file__).parent
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str) -> str:
        completed = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env=environment,
        )
        return completed.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return None  # installed inside another project's checkout
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder))
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
