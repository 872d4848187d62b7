"""The errors a user can mend: the command line prints them as one line and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NEAR = 0.5  # the likeness from which a name is proposed


class UserError(Exception):
    """Wrong input. The message is one line: which file, which field, what is allowed."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # whatever names and causes it quotes


class StoreError(UserError):
    """The result store cannot be used as it stands. The message names the path."""


def unknown(what: str, given: object, allowed: Iterable[str]) -> str:
    """'unknown model 'CNM': did you mean 'CNN'? Allowed: CNN, FCN' (one line)."""
    names = sorted(allowed)
    nearest = max(names, key=lambda name: _likeness(name, str(given)), default="")
    near = _likeness(nearest, str(given)) >= (NEAR, 0)
    hint = f"did you mean {nearest!r}? " if near else ""
    return f"unknown {what} {given!r}: {hint}allowed: {', '.join(names)}"


def _likeness(name: str, given: str) -> tuple[float, int]:
    """difflib's ratio, whatever the case; then how many characters are in the same places."""
    name, given = name.lower(), given.lower()
    in_place = sum(a == b for a, b in zip(name, given, strict=False))
    return difflib.SequenceMatcher(None, name, given).ratio(), in_place
