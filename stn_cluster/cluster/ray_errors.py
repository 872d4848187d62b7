"""Why Ray does not start, or lets nobody in: its errors as one line for people."""

from __future__ import annotations

import re

MOST = 300  # characters


def why(error: BaseException) -> str:
    """Reason of an error of Ray, from its message or that of its cause.

    Ray is not imported: its errors are told by their names and words.
    """
    chain = _chain(error)
    texts = [f"{type(each).__name__}: {' '.join(str(each).split())}" for each in chain]
    for pattern, line in _KNOWN:
        found = next((match for text in texts if (match := re.search(pattern, text))), None)
        if found:
            return found.expand(line)
    return _one_line(str(chain[-1])) or type(chain[-1]).__name__


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


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MOST]
