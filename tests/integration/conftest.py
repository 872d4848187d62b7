"""Fixtures of the tests of refused commands, and of those of the page in a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browsers import Opened, chromium, viewed
from support.refusals import Command, make_command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a folder of its own, where nothing but the store may appear."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert os.listdir(tmp_path / "here") == []  # noqa: PTH208


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for all tests of a module."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    """Address of the page of the module's own `store`."""
    with viewed(store) as printed:
        yield printed


@pytest.fixture
def page(opened: Opened) -> Any:
    """The page that the module's own `opened` has opened."""
    return opened.page
