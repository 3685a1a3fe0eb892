"""A real device behind the page: what a person says there is learned, and seen there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from sel_edge.cli.main import run
from sel_edge.data.sources import load_splits
from sel_edge.serve.web.server import Server
from sel_edge.serve.web.settings import WebSettings
from tests.serve.devices import Played, living, settings_for, until
from tests.serve.visiting import chromium, visiting

pytestmark = pytest.mark.proof

KNOWN, STRANGE = ("0", "1", "2", "3"), "7"
SEEN, LABELS = 60, 10
"""Frames of known digits and of the strange one; labels that a person gives."""


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that knows four digits well."""
    folder = tmp_path_factory.mktemp("digits")
    spec = f"digits?classes={','.join(KNOWN)}"
    train = ["pretrain", "--data", spec, "--recipe", "dense", "--width", "8", "--device", "cpu"]
    train += ["--precision", "fp32", "--epochs-scale", "0.5", "--holdout", "20"]
    for setting in ("flip=false", "crop_padding=1", "learning_rate=0.003"):
        train += ["--set", setting]
    assert run([*train, "--out", str(folder / "run")]) == 0
    assert run(["export", str(folder / "run"), "--out", str(folder / "bundle")]) == 0
    return folder / "bundle"


def digits(names: tuple[str, ...]) -> NDArray[np.uint8]:
    """Frames of some digits."""
    train = load_splits("digits").train
    wanted = [train.classes.index(name) for name in names]
    return train.frames[np.isin(train.labels, wanted)][:SEEN]


def teach(page: Page) -> None:
    """With keys alone: strange frames are sevens, the others are not useful."""
    given = answered = 0
    while given < LABELS:
        expect(page.locator("#answered")).to_contain_text(f"{answered} answer")
        expect(page.locator("#question")).to_be_visible()
        number = re.match(r"frame (\d+)", page.locator("#question-frame").inner_text())
        assert number is not None
        if int(number[1]) < SEEN:
            page.keyboard.press("x")
        elif given == 0:
            page.keyboard.press("n")
            page.keyboard.type("seven")
            page.keyboard.press("Enter")
        else:
            page.keyboard.press("5")  # after the four known ones
        given += int(number[1]) >= SEEN
        answered += 1
        words = f"Frame {number[1]} is {'seven' if int(number[1]) >= SEEN else 'not useful'}"
        expect(page.locator("#last-words")).to_have_text(words)


def test_labels_given_in_the_page_lead_to_an_adaptation_seen_in_it(
    bundle: Path, tmp_path: Path
) -> None:
    settings = settings_for(bundle, tmp_path)
    frames = np.concatenate([digits(KNOWN), digits((STRANGE,))])
    with living(settings, Played(frames, is_patient=True)) as device:
        until(device, lambda snapshot: snapshot.flow.seen == len(frames))
    # The questions outlive the service.
    with living(settings, Played(frames[:0], is_patient=True)) as device, chromium() as browser:
        server = Server(device, WebSettings(port=0))
        server.start()
        try:
            with visiting(browser, f"http://127.0.0.1:{server.port}/") as visit:
                page = visit.page
                rows = page.locator("#classes .name")
                expect(rows).to_have_count(4)
                teach(page)
                page.locator("#adapt").click()
                kept = page.locator("#decisions-list > li.keep").filter(has_text="seven")
                expect(kept.first).to_be_visible()
                expect(rows.filter(has_text="seven")).to_be_visible()
                current = page.locator("#versions-list .current")
                expect(current).to_contain_text("learned seven")
                assert "seven" in device.snapshot().classes
                assert visit.complaints == []
        finally:
            server.stop()
