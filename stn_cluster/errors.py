"""The errors a user can mend: the command line prints them as one line and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input. The message is one line: which file, which field, what is allowed."""


class StoreError(UserError):
    """The result store cannot be used as it stands. The message names the path."""


def unknown(what: str, given: object, allowed: Iterable[str]) -> str:
    """'unknown model 'CNM': did you mean 'CNN'? Allowed: CNN, FCN' (one line)."""
    names = sorted(allowed)
    close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    if not close:  # names differ in case alone more often than difflib's ratio admits
        close = [name for name in names if name.lower() == str(given).lower()]
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {what} {given!r}: {hint}allowed: {', '.join(names)}"
