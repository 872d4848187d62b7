"""What unit and integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.s3 import S3Server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server that speaks S3, with one bucket."""
    from support.s3 import S3Server  # takes a second to import, and few tests need it

    server = S3Server()
    yield server
    server.close()
