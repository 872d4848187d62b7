"""Why Ray does not start, or lets nobody in: its errors as one line for people."""

from __future__ import annotations

import re

MOST = 300  # characters


def why(error: BaseException) -> str:
    """Reason of an error of Ray, from its message or that of its cause.

    Ray is not imported: its errors are told by their names and words.
    """
    chain = _chain(error)
    known = next(filter(None, (_known(f"{type(each).__name__}: {each}") for each in chain)), None)
    return known or " ".join(str(chain[-1]).split())[:MOST] or type(chain[-1]).__name__


def why_text(text: str) -> str:
    """The same, from what a process of Ray's has written before it failed."""
    lines = [line for line in text.splitlines() if line.strip()]
    return _known(text) or (lines[-1].strip()[:MOST] if lines else "it does not say why")


def _known(text: str) -> str | None:
    text = " ".join(text.split())
    found = ((re.search(pattern, text), line) for pattern, line in _KNOWN)
    return next((match.expand(line) for match, line in found if match), None)


# What a message contains, and what to say.
_KNOWN = (
    (
        r"AuthenticationError|(?i:unauthenticated|authentication token|InvalidAuthToken)",
        "the cluster wants a token: set RAY_AUTH_MODE=token, and the cluster's token in "
        "RAY_AUTH_TOKEN, or its file in RAY_AUTH_TOKEN_PATH",
    ),
    (
        r"Package size \((.*?)\) exceeds the maximum size of (\S+)\. ",
        r"a plug-in's package has \1, and Ray sends \2 at most: keep data in the data root",
    ),
    (
        r"mismatch:.*?Ray: (\S+)\s+Python: (\S+).*?Ray: (\S+)\s+Python: (\S+)",
        r"the cluster has Ray \1 and Python \2, this process Ray \3 and Python \4: use the same",
    ),
)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and its causes, the first cause last."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    return chain
