"""Answers that are kept as long as nothing has changed that they depend on."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass

KEPT = 16


@dataclass(frozen=True)
class Answer:
    """A body, and a tag that tells it from others."""

    body: bytes
    tag: str


class KeptAnswers:
    """The last few answers. One thread computes an answer at a time; others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[Hashable, Answer] = {}

    def answer(self, asked: Hashable, make: Callable[[], bytes]) -> Answer:
        """Answer to a question, which `make` computes if it is not kept."""
        with self._lock:
            found = self._answers.pop(asked, None)
            if found is None:
                body = make()
                found = Answer(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
            self._answers[asked] = found  # last, as the newest
            while len(self._answers) > KEPT:
                del self._answers[next(iter(self._answers))]
            return found
