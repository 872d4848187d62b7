"""Patience with a server: after a moment, a line says for what and for how long."""

from __future__ import annotations

import logging
import threading

log = logging.getLogger(__name__)

SILENT_SECONDS = 2.0  # before anything is said


class Patience:
    """Says what a block waits for, once, if it waits for longer than a moment.

    Args:
        url: URL of the server.
        seconds: how long the block waits at most.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self.reason = f"{url}: no answer yet"  # may change meanwhile
        self._seconds = seconds
        self._timer = threading.Timer(SILENT_SECONDS, self._say)
        self._timer.daemon = True

    def __enter__(self) -> Patience:
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over()

    def over(self) -> None:
        """Ends the waiting: the answer is there."""
        self._timer.cancel()

    def _say(self) -> None:
        """On stderr, unless the program has set up logging otherwise."""
        log.warning("%s; waiting for it, at most %g s", self.reason, self._seconds)
