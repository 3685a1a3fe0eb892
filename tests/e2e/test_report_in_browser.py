"""The report in a real browser: readable on a phone, silent, and asking for nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sel_edge.core.ledger import (
    ClassEmbarrassment,
    Decision,
    DecisionKind,
    LedgerWriter,
    Session,
)
from sel_edge.core.measurement import Energy
from sel_edge.core.runlog import Samples, history_columns, write_history, write_info, write_samples
from sel_edge.report.compare import write_compare
from sel_edge.report.page import write_report
from tests.core import ledgers

pytestmark = pytest.mark.proof

CLASSES = ("a" * 300, "<img src=https://example.com/x onerror=console.error(1)>", "ship", "猫")
KINDS: tuple[DecisionKind, ...] = ("fire", "defer", "stop")
SMALLEST_TEXT_PX = 9
SCREENS = [(390, 844, False), (390, 844, True), (320, 640, False), (1280, 900, True)]
"""Width, height, dark."""


def write_run(path: Path, staged: bool) -> Path:
    columns = history_columns(CLASSES, staged)
    rows: list[dict[str, float | int | str]] = []
    for epoch in (1, 2, 3):
        row: dict[str, float | int | str] = dict.fromkeys(columns, 0.3 * epoch)
        row |= {"epoch": epoch, "energy_origin": "estimated"}
        rows.append(row | ({"stage": epoch, "stage_name": f"Stage {epoch}"} if staged else {}))
    path.mkdir()
    data = {"spec": "x" * 200, "sha256": "0" * 64, "classes": list(CLASSES), "n_test": 400}
    info = dict.fromkeys(("finished", "model", "seed", "init", "device", "precision", "energy"))
    write_info(path, info | {"schema": 1, "data": data, "recipe": {"name": path.name}})
    write_history(path, columns, rows)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    odds = rng.dirichlet(np.ones(len(CLASSES)), 40).astype(np.float32)
    write_samples(path, Samples(images, np.arange(40) % len(CLASSES), odds))
    return path


def write_ledger(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.identify("source", "folder:" + "y" * 300)
        for step in range(40):
            windows = {name: ClassEmbarrassment(step / 20, None, 5) for name in CLASSES}
            scores = dict.fromkeys(CLASSES, (8, step // 5))
            tick = ledgers.tick(
                *(32 * step, 32),
                segment=CLASSES[step // 10],
                scores=scores,
                embarrassment=windows,
                watching_flops=10,
            )
            frame = 32 * step + 32
            decisions = [Decision(frame, kind, "because " * 40, CLASSES) for kind in KINDS]
            updates = [ledgers.update(frame=frame, rung="tail", domain=3, classes=CLASSES)]
            rare = step % 9 == 0
            balances = ledgers.balances(frame)
            ledger.record(tick, decisions * rare, updates * rare, balances=balances)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A report on everything, with names as long and as hostile as they come."""
    given = os.environ.get("SEL_EDGE_TEST_REPORT")
    if given:
        return Path(given)
    write_compare(
        write_run(tmp_path / "dense", False),
        write_run(tmp_path / "sel", True),
        tmp_path / "compare",
    )
    write_ledger(tmp_path / "edge" / "ledger.sqlite")
    return write_report(tmp_path)


@pytest.mark.parametrize(("width", "height", "dark"), SCREENS)
def test_nothing_overflows_complains_or_asks_the_network(
    browser: Any, page: Path, width: int, height: int, dark: bool
) -> None:
    browser.open(page, width, height, dark)
    browser.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.documentElement.clientWidth") <= width
    assert [url for url in browser.requests if not url.startswith(("data:", "file:"))] == []
    assert sum(url.startswith("file:") for url in browser.requests) == 1
    assert browser.complaints == []


def test_no_table_needs_a_scroll_bar_on_a_desktop(browser: Any, tmp_path: Path) -> None:
    spec = "cifar10:archive.tar.gz:test?classes=airplane,automobile,bird,cat&n=2000&name=unchanged"
    meter, versions = "rapl:package-0+package-1", {"numpy": "2.0"}
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse")
    measured = Energy(1234.5, "estimated")
    with LedgerWriter(tmp_path / "ledger.sqlite") as ledger:
        when = "2025-01-02T03:04:05Z"
        note = "JPEG, quality 75, 4:2:0"
        ledger.record_session(Session(0, when, spec, "0" * 64, note, meter, "measured", versions))
        for step, kept in enumerate((True, False)):
            frame = 123_456 * (step + 1)
            tick = ledgers.tick(frame - 16, 16, segment=f"{step}: x", domains={"0": 9, "12": 7})
            update = ledgers.update(
                frame=frame,
                domain=12,
                classes=names,
                kept=kept,
                frames=64,
                labels=1234,
                held_out=456,
                predicted_flops=72_300_000,
                predicted_energy_j=1432.1,
                predicted_seconds=812.0,
                executed_flops=65_400_000,
                energy=measured,
                seconds=719.0,
            )
            decision = Decision(frame, "keep" if kept else "reject", "because " * 20, names)
            put_off = Decision(frame, "defer", "energy_j_per_day: 120 J needed, 40 J free", names)
            balances = ledgers.balances(frame)
            ledger.record(tick, [put_off, decision], [update], balances=balances)
    browser.open(write_report(tmp_path), 1280, 900)
    browser.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    scrolled = """[...document.querySelectorAll('.scroll')]
        .filter(part => part.scrollWidth > part.clientWidth)
        .map(part => [part.ariaLabel, part.scrollWidth])"""
    assert browser.evaluate(scrolled) == []


def test_text_is_large_enough_for_a_phone(browser: Any, page: Path) -> None:
    browser.open(page, 390, 844)
    smallest = """Math.min(...[...document.querySelectorAll('body *')]
        .filter(part => part.childElementCount == 0 && part.textContent.trim())
        .filter(part => part.getClientRects().length)
        .map(part => parseFloat(getComputedStyle(part).fontSize)
            * (part.ownerSVGElement ? part.getScreenCTM().a : 1)))"""
    assert browser.evaluate(smallest) >= SMALLEST_TEXT_PX


def test_the_first_screen_tells_the_story(browser: Any, page: Path) -> None:
    browser.open(page, 390, 844)
    for part in ("h1", ".lede", ".cards"):
        assert (
            browser.evaluate(f"document.querySelector('{part}').getBoundingClientRect().top") < 844
        )


def test_every_plot_is_drawn_and_fits(browser: Any, page: Path) -> None:
    browser.open(page, 390, 844)
    pictures = (
        "[...document.images].map(one => [one.naturalWidth, one.getBoundingClientRect().right])"
    )
    drawn = browser.evaluate(pictures)
    assert len(drawn) == 12
    assert all(natural > 0 and right <= 390 for natural, right in drawn)


def test_dark_screens_get_a_dark_page(browser: Any, page: Path) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    browser.open(page, 390, 844, dark=False)
    light = browser.evaluate(color)
    browser.open(page, 390, 844, dark=True)
    assert browser.evaluate(color) != light
