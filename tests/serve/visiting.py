"""A scripted device behind the real server, and real browsers that visit it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from sel_edge.serve.web.server import Server
from sel_edge.serve.web.settings import WebSettings
from tests.serve.stage import Script, Stage, staged
from tests.tools_needed import missing_tool

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 20_000
"""Until what is expected of a page must be there; machines that run tests are slow and busy."""
expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Visit:
    """One visitor: a page with cookies and storage of its own.

    Attributes:
        page: in the browser.
        complaints: what the browser's console said of warnings and errors.
        requests: every URL that was asked for.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A real browser; see `missing_tool` for where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        missing_tool("no browser here: install the package chromium to run this test")
    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(
    script: Script | None = None, token: str | None = None, port: int = 0
) -> Iterator[tuple[Stage, str]]:
    """A staged device behind the real server; the stage, and the address of its page."""
    with staged(script, time.time()) as stage, serving(stage, token, port) as address:
        yield stage, address


@contextmanager
def serving(stage: Stage, token: str | None = None, port: int = 0) -> Iterator[str]:
    """The real server for a stage; the address of its page."""
    server = Server(stage, WebSettings(port=port, token=token))
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}/"
    finally:
        server.stop()


@contextmanager
def visiting(
    browser: Browser, address: str, width: int = 1280, height: int = 900, **options: Any
) -> Iterator[Visit]:
    """Somebody opens the page and sees the device, or the form that asks for its token.

    Args:
        browser: to open it in.
        address: of the page.
        width, height: of the window.
        options: of a browser's context, such as color_scheme="dark".
    """
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(context.new_page())
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on(
        "console",
        lambda message: (
            visit.complaints.append(message.text) if message.type in ("warning", "error") else None
        ),
    )
    visit.page.goto(address)
    visit.page.locator("#page, #login").locator("visible=true").wait_for()
    yield visit
    context.close()
