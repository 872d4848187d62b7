"""Ray's errors: one line that says what to do."""

from __future__ import annotations

import pytest
from ray.exceptions import AuthenticationError, RuntimeEnvSetupError

from stn_cluster.cluster.ray_errors import why

MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.50.0
    Python: 3.12.1
This process on 10.0.0.1:6379 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""
TOO_LARGE = """Failed to upload module /a/b to the Ray cluster: Package size (700.10MiB) exceeds the
maximum size of 512.00MiB. To exclude large files, add them to '.gitignore'"""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AuthenticationError("Token authentication is enabled"), "the cluster wants a token: set"),
        (
            caused(
                ConnectionError("Failed to connect to Ray cluster"),
                RuntimeError("Unauthenticated: x"),
            ),
            "the cluster wants a token: set RAY_AUTH_MODE=token",
        ),
        (
            RuntimeError(MISMATCH),
            "the cluster has Ray 2.50.0 and Python 3.12.1, this process Ray 2.60.0 and Python",
        ),
        (
            RuntimeEnvSetupError(TOO_LARGE),
            "a plug-in's package has 700.10MiB, and Ray sends 512.00MiB at most: keep data in",
        ),
        (
            caused(RuntimeError("it failed"), OSError(28, "No space left")),
            "[Errno 28] No space left",
        ),
        (ValueError("one\n  two"), "one two"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 1000), "x" * 300),
    ],
)
def test_an_error_is_told_by_its_cause(error: Exception, told: str) -> None:
    line = why(error)
    assert line.startswith(told)
    assert len(line.splitlines()) == 1


def test_errors_that_cause_each_other_come_to_an_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert why(first) == "second"
