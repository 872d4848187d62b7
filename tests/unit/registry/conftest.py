"""Fixtures of the registry's tests: plug-ins in folders of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.plugin_state import plugins_forgotten


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    with plugins_forgotten():
        yield
