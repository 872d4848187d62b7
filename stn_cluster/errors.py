"""Errors that a user can fix: the command line prints them as one line and exits with 2."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stn_cluster.plain_text import one_line, shortened

LONGEST_LINE = 1000  # characters of an error's line: user code may put a file into one
NEAR = 0.5  # least similarity (0 to 1) of a name that is suggested


class UserError(Exception):
    """Wrong input. The message is one line: which file, which field, what is allowed.

    Args:
        message: the line.
        field: the wrong field of the input, dotted as in 'recipe.iterations', if known.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    def __str__(self) -> str:
        # Quoted names may contain line breaks, and what terminals take for commands.
        return one_line(" ".join(super().__str__().splitlines()))


class NotFoundError(UserError):
    """There is no job, cell or attempt with this name."""


class ConflictError(UserError):
    """The name is already used by something else."""


class ServiceError(UserError):
    """The service does not answer at the moment; a later try may succeed."""


class EndedError(ServiceError):
    """The service has ended and will not restart by itself."""


class StoreError(UserError):
    """The result store cannot be used in its current state. The message names the path."""


class HeldError(StoreError):
    """Another process holds the store, or the state of a service."""


@contextmanager
def within(field: str) -> Iterator[None]:
    """Adds the field's name, or prefixes the name already there, in a UserError from the block."""
    try:
        yield
    except UserError as error:
        error.field = field if error.field is None else f"{field}.{error.field}"
        raise


def first_error(
    errors: Sequence[Any], known: Callable[[Sequence[Any]], Iterable[str]] | None = None
) -> tuple[Any, str]:
    """The most helpful of pydantic's errors, and its message.

    A misspelt field comes first: that helps more than the message that the correct one is missing.

    Args:
        errors: pydantic's, at least one.
        known: gives the fields that are allowed at a location; None: they are not listed.
    """
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    if first["type"] != "extra_forbidden":
        return first, first["msg"].removeprefix("Value error, ")
    *path, name = first["loc"]
    return first, "there is no such field" if known is None else unknown("field", name, known(path))


def unknown(what: str, given: object, allowed: Iterable[str]) -> str:
    """Message for an unknown name: "unknown model 'CNM': did you mean 'CNN'? allowed: CNN, FCN"."""
    names = sorted(allowed)
    nearest = max(names, key=lambda name: _similarity(name, str(given)), default="")
    hint = f"did you mean {nearest!r}? " if is_near(nearest, str(given)) else ""
    return f"unknown {what} {given!r}: {hint}allowed: {', '.join(names)}"


def is_near(name: str, given: str) -> bool:
    """Whether a name is suggested for what was given."""
    return _similarity(name, given) >= (NEAR, 0)


def _similarity(name: str, given: str) -> tuple[float, int]:
    """Case-insensitive ratio of difflib, then the number of characters in the same positions."""
    name, given = name.lower(), given.lower()
    same_position = sum(a == b for a, b in zip(name, given, strict=False))
    return difflib.SequenceMatcher(None, name, given).ratio(), same_position


def error_line(error: str) -> str:
    """Most informative line of a traceback: the last 'SomeError: text', or its beginning."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception)\b.*: ", line)]
    return shortened(one_line((errors or lines or ["unknown"])[-1]), LONGEST_LINE)


def storable(text: str) -> str:
    """Text without characters that UTF-8 cannot encode, as in file names that are not text."""
    return text.encode("utf-8", "replace").decode()
