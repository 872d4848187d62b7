"""Activity: what a pack's training is doing, so that others can see whether it makes progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

Progressed = Callable[[], None]  # called after a part of what is being done, such as a batch


class Doing(NamedTuple):  # made at every step: a frozen dataclass takes twice as long
    """What is being done at the moment."""

    what: str  # after 'it', as in 'builds its model'
    keys: tuple[str, ...]  # of the cells whose code runs; empty if it is no cell's
    since: float  # when the last progress was made, in seconds on the monotonic clock


class Activity:
    """What a pack's training is doing; one thread changes it, any may read `now`.

    Progress is a step, an evaluated or distorted batch, a loaded data set: the end of anything that
    was begun here.
    """

    def __init__(self) -> None:
        self.now = Doing("starts", (), time.monotonic())

    def begin(self, what: str, *keys: str) -> None:
        """Begins something else.

        Args:
            what: see `Doing`.
            keys: keys of the cells whose code it is.
        """
        self.now = Doing(what, keys, time.monotonic())

    def progressed(self) -> None:
        """Notes progress in what is being done."""
        self.now = Doing(self.now.what, self.now.keys, time.monotonic())


def no_one() -> None:
    """A `Progressed` where nobody looks."""
