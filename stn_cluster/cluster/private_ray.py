"""What an embedded Ray must not take from the environment, or start, and what it is kept from.

Ray has no public settings for it. If a version of Ray has other names for what is replaced here, it
starts as usual.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stn_cluster.errors import UserError

# Variables that embedded Ray does take: they tell its memory monitor what the machine can bear.
_KEPT = ("RAY_memory_monitor_refresh_ms", "RAY_memory_usage_threshold")


@contextlib.contextmanager
def private_environment() -> Iterator[None]:
    """Removes the variables RAY_* from the environment within the block.

    They are meant for a cluster: its address and token, hooks that modify a job, and hundreds of
    settings, of which a malformed one ends the process. Ray gets a token of its own, as it would
    otherwise write one to the home folder.

    Raises:
        UserError: a variable that is kept is not a number.
    """
    theirs = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    kept = {name: theirs[name] for name in _KEPT if name in theirs}
    for name, value in kept.items():
        if not value.replace(".", "", 1).isdecimal():
            raise UserError(f"{name}: a number, not {value!r}")
    for name in theirs:
        del os.environ[name]
    os.environ |= {"RAY_AUTH_TOKEN": secrets.token_hex(32), **kept}
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            del os.environ[name]
        os.environ |= theirs


def forget_token() -> None:
    """Makes Ray read its token from the environment again, when it needs it."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray import _raylet

        loader: Any = getattr(_raylet, "AuthenticationTokenLoader")  # noqa: B009
        loader.instance().reset_cache()


@contextlib.contextmanager
def absolute_python_path() -> Iterator[None]:
    """Makes PYTHONPATH mean the same folders to processes that start elsewhere, in the block.

    An empty entry, as in 'lib:', is the working folder.
    """
    text = os.environ.get("PYTHONPATH", "")
    if not text:
        yield
        return
    folders = os.pathsep.join(str(Path(f).absolute()) for f in text.split(os.pathsep))
    with patch.dict(os.environ, {"PYTHONPATH": folders}):
        yield


@contextlib.contextmanager
def minimal_ray() -> Iterator[None]:
    """Makes Ray start without dashboard, autoscaler and log monitor within the block, which saves
    two to five seconds."""
    from ray._private import utils
    from ray._private.node import Node

    replacements = [
        (Node, "start_api_server", _silently),
        (Node, "start_monitor", _silently),
        (Node, "start_log_monitor", _silently),
        # As if the dashboard's libraries were not installed: a node's agent then skips them.
        (utils, "get_dashboard_dependency_error", ImportError),
    ]
    with contextlib.ExitStack() as stack:
        for target, name, replacement in replacements:
            if hasattr(target, name):
                stack.enter_context(patch.object(target, name, replacement))
        yield


@contextlib.contextmanager
def own_process_group() -> Iterator[None]:
    """Makes Ray's processes start in groups of their own within the block.

    A signal to our group (from `timeout`, or a terminal that closes) then reaches this process
    alone, which ends the others with checkpoints. On Linux they end with it however it ends.
    """
    from ray._private import services

    start = getattr(services, "ConsolePopen", None)
    if start is None or sys.platform != "linux":
        yield
        return
    with patch.object(services, "ConsolePopen", functools.partial(start, process_group=0)):
        yield


def lost_processes() -> list[str]:
    """Names of Ray's processes that should run here and have ended, as after a lack of memory.

    Without its global control store, Ray would end this process after a minute, with exit code 1.
    """
    from ray._private import worker

    node = getattr(worker, "_global_node", None)
    return [str(kind) for kind, _ in node.dead_processes()] if node is not None else []


def _silently(*args: object, **kwargs: object) -> None:
    pass
