"""Pages in a real browser, and what they did there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium")
NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium (Debian: apt-get install chromium)"
)
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--no-first-run"),
)
PATIENCE = 60_000  # ms: a machine may have much else to do
SERIOUS = {"serious", "critical"}
# Reports of the page's policy, also of what the browser refuses without an error.
_REPORTS = """window.refused = [];
document.addEventListener("securitypolicyviolation",
    (event) => window.refused.push(`${event.violatedDirective} ${event.blockedURI}`));"""


@dataclass(frozen=True)
class Opened:
    """A page, what it asked for, and what it complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def hosts(self) -> set[str]:
        """Servers that it asked."""
        return {urlsplit(url).netloc for url in self.requests if url.startswith("http")}

    @property
    def refused(self) -> list[str]:
        """What the page's policy refused."""
        found: list[str] = self.page.evaluate("window.refused")
        return found


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser until the end of the block."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


@contextmanager
def opened_page(browser: Any, width: int = 1440, scheme: str = "light") -> Iterator[Opened]:
    """A page with a session of its own."""
    # Without motion, as what fades in has less contrast for a moment.
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.add_init_script(_REPORTS)
    page = context.new_page()
    found = Opened(page)
    page.on("request", lambda sent: found.requests.append(sent.url))
    page.on("console", lambda message: found.messages.append(message.text))
    page.on("pageerror", lambda error: found.messages.append(str(error)))
    yield found
    context.close()


@contextmanager
def viewed(store: Path, *more: str) -> Iterator[str]:
    """`stn-cluster view` of a store until the end of the block; gives the address it printed."""
    command = [Path(sys.executable).parent / "stn-cluster", "view", store, "--port=0", *more]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        yield address
    finally:
        process.terminate()
        process.wait(30)
