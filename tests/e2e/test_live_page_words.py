"""The page's words: for answers that come too late, and for numbers and times."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

import sel_edge.serve
from sel_edge.runtime.samples.desk import SAMPLES_FILE
from tests.serve.stage import QUEUED
from tests.serve.visiting import chromium, served, visiting

pytestmark = pytest.mark.proof

FORMAT = Path(sel_edge.serve.__file__).parent / "page" / "modules" / "format.js"
AS_INTL_WRITES_THEM = """async () => {
  const { clock, count, scaled } = await import("/format.js");
  const whole = new Intl.NumberFormat("en");
  const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
  const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const differ = [];
  const compare = (ours, theirs) => ours === theirs || differ.push([ours, theirs]);
  for (let i = 0; i < 2000; i += 1) {
    const number = Math.floor(10 ** (15 * Math.random()));
    compare(count(number), whole.format(number));
    const value = 1 + 998 * Math.random();
    compare(scaled(1e6 * value, "J"), `${digits.format(value)}\u00a0MJ`);
    const date = new Date(1.7e12 + 1e9 * i);
    const month = date.toLocaleString("en-US", { month: "short" });
    const day = `${date.getDate()} ${month}, ${date.toLocaleString("en-GB", time)}`;
    compare(clock(date / 1000, 0), day);
    compare(clock(date / 1000), date.toLocaleString("en-GB", { ...time, second: "2-digit" }));
  }
  return differ;
}"""

SENTENCES = {
    "keep: head: it fell": "Kept: head: it fell",
    "fire: asked for by a person": "Began to learn: asked for by a person",
    "There is nothing: no label": "There is nothing: no label",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def test_an_answer_to_a_frame_that_waits_no_more_is_said_to_be_late(browser: Browser) -> None:
    with served() as (stage, address), visiting(browser, address) as visit:
        page = visit.page
        expect(page.locator("#strip li")).to_have_count(QUEUED)
        page.keyboard.press("2")
        expect(page.locator("#last-words")).to_contain_text("is automobile")
        expect(page.locator("#last-words")).not_to_contain_text("waits no more")
        expect(page.locator("#strip li")).to_have_count(QUEUED - 1)
        with sqlite3.connect(stage.state / SAMPLES_FILE) as store:
            store.execute("DELETE FROM waiting")
        store.close()
        page.keyboard.press("3")
        expect(page.locator("#last-words")).to_contain_text("is bird. It waits no more, so the")
        expect(page.locator("#toast")).to_contain_text("It waits no more")
        assert visit.complaints == []


def test_numbers_and_times_are_as_intl_writes_them(browser: Browser) -> None:
    with served() as (_, address), visiting(browser, address) as visit:
        # Served are not the modules, but one script of all.
        visit.page.route("**/format.js", lambda route: route.fulfill(path=FORMAT))
        assert visit.page.evaluate(AS_INTL_WRITES_THEM) == []


def test_what_came_of_learning_is_said_as_the_timeline_says_it(browser: Browser) -> None:
    with served() as (_, address), visiting(browser, address) as visit:
        visit.page.route("**/format.js", lambda route: route.fulfill(path=FORMAT))
        for sentence, words in SENTENCES.items():
            said = visit.page.evaluate(
                "async (one) => (await import('/format.js')).sentenceInWords(one)", sentence
            )
            assert said == words
