"""How long people wait for the page: as a browser loads it, and in a real one."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tools.serve_bench.connection import Connection, get
from tools.serve_bench.statistics import spread_ms

LANES = 6
"""Connections that browsers open to a host."""
STATUS = ("/api/v1/session", "/api/v1/status")
"""What the page asks for, one after the other, before it shows anything."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAUSE_S = 0.3
"""Between two loads; the daemon takes only so many requests from an address."""
_FILES = re.compile(rb'(?:src|href)="([a-z0-9./_-]+\.(?:css|js|svg))"')
_WATCH = """
new MutationObserver(() => {
  const phase = document.querySelector("#phase");
  if (phase && phase.textContent !== "connecting") window.shown_ms ??= performance.now();
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
"""Notes when the page says for the first time what the device does."""


def by_hand(port: int, seconds: float) -> dict[str, Any]:
    """Load the page with all its files and its first status, as a browser does, again and again.

    Args:
        port: of the daemon.
        seconds: how long.

    Raises:
        RuntimeError: something is not served.
    """
    return spread_ms(asyncio.run(_loads(port, seconds)))


async def _loads(port: int, seconds: float) -> list[float]:
    taken, end_s = list[float](), time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < end_s:
        await _load(port, f"127.0.2.{len(taken) % 250 + 1}")
        taken.append(time.perf_counter() - began_s)
        await asyncio.sleep(PAUSE_S)
    return taken


async def _load(port: int, source: str) -> None:
    """One load: the page, then its files over some connections, then its first status."""
    first = await Connection.open(port, source)
    files = deque(sorted({f"/{name.decode()}" for name in _FILES.findall(await _got(first, "/"))}))
    others = [await Connection.open(port, source) for _ in range(LANES - 1)]

    async def lane(connection: Connection) -> None:
        while files:
            await _got(connection, files.popleft())

    await asyncio.gather(*(lane(one) for one in (first, *others)))
    for path in STATUS:
        await _got(first, path)
    await asyncio.gather(*(one.close() for one in (first, *others)))


async def _got(connection: Connection, path: str) -> bytes:
    reply = await connection.ask(get(path))
    if reply.status != 200:
        raise RuntimeError(f"{path} was answered with {reply.status}")
    return reply.body


def in_browser(port: int, seconds: float) -> dict[str, Any] | None:
    """From navigation to the first status that is shown, in Chromium; None where there is none.

    Every load is that of a visitor who was never there; the first, which starts the browser's own
    processes, does not count.

    Args:
        port: of the daemon.
        seconds: how long.
    """
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        return None
    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=program, args=["--no-sandbox"])
        _shown_s(browser, port)
        taken, end_s = list[float](), time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            time.sleep(PAUSE_S)
            taken.append(_shown_s(browser, port))
        browser.close()
    return spread_ms(taken)


def _shown_s(browser: Browser, port: int) -> float:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(_WATCH)
    page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
    page.locator("#phase:not(:text-is('connecting'))").wait_for()
    shown_ms = page.evaluate("window.shown_ms")
    context.close()
    return float(shown_ms) / 1e3


@contextmanager
def visitors(port: int) -> Iterator[dict[str, int]]:
    """Somebody has the page open, and others load it all the time.

    Args:
        port: of the daemon.

    Returns:
        `loads` of the page and `events` of the stream until now.
    """
    over, seen = threading.Event(), {"loads": 0, "events": 0}

    async def visit() -> None:
        listening = asyncio.create_task(_listen(port, seen))
        while not over.is_set():
            await _load(port, f"127.0.4.{seen['loads'] % 250 + 1}")
            seen["loads"] += 1
            await asyncio.sleep(PAUSE_S)
        listening.cancel()
        await asyncio.wait([listening])

    with ThreadPoolExecutor(1) as thread:
        visiting = thread.submit(asyncio.run, visit())
        try:
            yield seen
        finally:
            over.set()
        visiting.result()


async def _listen(port: int, seen: dict[str, int]) -> None:
    """Count the events of a stream."""
    connection = await Connection.open(port, "127.0.3.1")
    try:
        connection.writer.write(get("/api/v1/stream"))
        await connection.read_head()
        while line := await connection.reader.readline():
            seen["events"] += line.startswith(b"event: ")
    finally:
        await connection.close()
