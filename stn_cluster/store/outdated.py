"""Results whose plug-ins have changed since: said to whoever reads them from a store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from stn_cluster.errors import UserError
from stn_cluster.registry import changed_files

MAX_NAMED = 3  # files in a line


class OutdatedWarning(UserWarning):
    """Results that are shown are not those of the present source."""


def outdated(specs: Iterable[str], describe: Callable[[str], bytes | None]) -> list[str]:
    """Lines on results that are not those of the present source of a plug-in.

    A plug-in's files are compared with what they were, on this machine, when they were submitted;
    where there are none, as on another machine, nothing is known and nothing is said.

    Args:
        specs: specs of the cells whose results are shown.
        describe: description of the plug-in with a digest, or None; see `registry.pack`.

    Returns:
        A line for each version of a plug-in that is not the present one, or of which that is not
        known, as its description is none.
    """
    counts = Counter(digest for spec in specs for digest in _plugins(spec))
    lines = []
    for digest, count in counts.items():
        description = describe(digest)
        if description is None:
            continue
        try:
            changed = changed_files(description)
        except UserError as error:
            lines.append(
                f"plugins/{digest}.json of the store is {error}: whether results are of an older "
                "version of it is not known"
            )
            continue
        if changed:
            more = ", ..." if len(changed) > MAX_NAMED else ""
            results = "1 of these results is" if count == 1 else f"{count} of these results are"
            lines.append(
                f"plug-in {json.loads(description)['module']!r} has changed since "
                f"({', '.join(changed[:MAX_NAMED])}{more}): {results} of an older version; "
                "`run` trains the present one"
            )
    return lines


def _plugins(spec: str) -> Iterator[str]:
    """Digests of the plug-ins of a cell."""
    if '"plugins":[]' not in spec:  # most cells have none
        cell = json.loads(spec)
        if cell.get("plugins"):
            revisions = [value for value in cell["revisions"].values() if isinstance(value, str)]
            yield from {value.partition("+")[0] for value in revisions}
