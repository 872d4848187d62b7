"""The errors a user can mend: the command line prints them as one line and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

NEAR = 0.5  # the likeness from which a name is proposed


class UserError(Exception):
    """Wrong input. The message is one line: which file, which field, what is allowed.

    Args:
        message: the line.
        field: the input's field that is wrong, dotted as in 'recipe.iterations', where it is known.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # whatever names and causes it quotes


class NotFoundError(UserError):
    """There is no job, cell or attempt of this name."""


class ConflictError(UserError):
    """The name is taken by something else."""


class ServiceError(UserError):
    """The service does not answer now; it may later."""


class EndedError(ServiceError):
    """The service has ended, and is not started again by itself."""


class StoreError(UserError):
    """The result store cannot be used as it stands. The message names the path."""


@contextmanager
def within(field: str) -> Iterator[None]:
    """Names the field, or the one above it, in whatever UserError is raised."""
    try:
        yield
    except UserError as error:
        error.field = field if error.field is None else f"{field}.{error.field}"
        raise


def first_error(errors: Sequence[Any]) -> tuple[Any, str]:
    """The one of pydantic's errors that a user is told of, and its message.

    A misspelt field comes first: it tells more than that the right one is missing.
    """
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    return first, first["msg"].removeprefix("Value error, ")


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


def storable(text: str) -> str:
    """Text as UTF-8 can hold it: an error may quote a file's name whose bytes are not text."""
    return text.encode("utf-8", "replace").decode()
