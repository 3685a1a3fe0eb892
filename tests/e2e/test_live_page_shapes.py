"""The page in every shape: any window, any device, any names; accessible, and with keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.serve.stage import QUEUED, Script
from tests.serve.visiting import chromium, served, visiting

pytestmark = pytest.mark.proof

HOSTILE = (
    "<img src=x onerror=console.error(1)>",
    "a" * 255,
    "\u202egnorw\u2066",
    "猫",
    "'\"><script>console.error(2)</script>",
    "javascript:console.error(3)",
    "{{constructor}}",
    "e\u0301" * 100,
)
SCRIPTS = {
    "ten classes": Script(),
    "two classes": Script(classes=("off", "on")),
    "thousand classes": Script(classes=tuple(f"class {number}" for number in range(1000))),
    "hostile names": Script(classes=HOSTILE),
    "signals": Script(signals=True),
    "nothing yet": Script(bare=True),
}
SCREENS = [(1440, 900), (1024, 768), (390, 844), (320, 640)]
TOUCHED_PX = 24
"""Least side of what a finger must hit (WCAG 2.2, 2.5.8)."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def settled(page: Page, script: Script) -> None:
    """Wait until everything that comes by itself is there."""
    if script.bare:
        expect(page.locator("#no-question")).to_be_visible()
    else:
        expect(page.locator("#strip li")).to_have_count(QUEUED)
        expect(page.locator("#prediction")).not_to_be_empty()
    expect(page.locator("#versions-list > li").first).to_be_visible()


def assert_fits(page: Page, width: int) -> None:
    """Nothing makes the page scroll sideways, and no text is cut by the edge of the window."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = """width => [...document.querySelectorAll('body *')]
        .filter(node => !node.closest('nav, .thumbs, .scroll, svg, .hidden, .skip, .name bdi'))
        .filter(node => node.getBoundingClientRect().right > width + 0.5)
        .map(node => node.outerHTML.slice(0, 99))"""
    assert page.evaluate(beyond, width) == []


def assert_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    told = [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found]
    assert told == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_any_device_in_any_window(browser: Browser, name: str) -> None:
    with served(SCRIPTS[name]) as (stage, address):
        for width, height in SCREENS:
            for scheme in ("light", "dark"):
                with visiting(browser, address, width, height, color_scheme=scheme) as visit:
                    settled(visit.page, stage.script)
                    assert_fits(visit.page, width)
                    if width in (1440, 390):
                        assert_accessible(visit.page)
                    assert visit.complaints == []
                    assert all(url.startswith(address) for url in visit.requests)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_accessible_with_everything_open(browser: Browser, width: int, height: int) -> None:
    with served() as (stage, address), visiting(browser, address, width, height) as visit:
        page = visit.page
        stage.step(1200)
        stage.fail("No space is left.")
        settled(page, stage.script)
        page.locator("#more-decisions").click()
        page.locator("#classes button").first.click()
        page.locator("#not-useful").click()
        expect(page.locator("#last-answer")).to_be_visible()
        page.locator("#new-class").click()
        assert_accessible(page)
        assert_fits(page, width)
        page.locator("#help").click()
        assert_accessible(page)
        page.locator("#help-close").click()
        page.locator("#undo").click()
        assert_accessible(page)


def test_form_for_the_token_is_accessible(browser: Browser) -> None:
    with served(token="x" * 32) as (_, address), visiting(browser, address, 390, 844) as visit:
        expect(visit.page.locator("#login-form")).to_be_visible()
        assert_accessible(visit.page)
        assert_fits(visit.page, 390)


def test_names_are_text_and_nothing_else(browser: Browser) -> None:
    with served(SCRIPTS["hostile names"]) as (stage, address), visiting(browser, address) as visit:
        page = visit.page
        settled(page, stage.script)
        page.locator("#new-class").click()
        page.locator("#new-class-name").fill("<b onclick=alert(1)>new</b>")
        page.keyboard.press("Enter")
        expect(page.locator("#last-words b")).to_have_text("<b onclick=alert(1)>new</b>")
        stage.step(400)
        page.locator("#order").select_option("network")
        for place, name in enumerate(HOSTILE):
            assert page.locator("#classes bdi").nth(place).text_content() == name
            assert page.locator("#pad bdi").nth(place).text_content() == name
        assert page.locator("main script, main img[onerror], main [onclick]").count() == 0
        assert visit.complaints == []


def test_a_class_may_be_called_like_what_objects_inherit(browser: Browser) -> None:
    """Nothing is known of what is normal for it, and no function stands in for that."""
    script = Script(classes=("off", "on"))
    with served(script) as (stage, address), visiting(browser, address) as visit:
        page = visit.page
        settled(page, stage.script)
        for name in ("valueOf", "__proto__"):
            page.locator("#new-class").click()
            page.locator("#new-class-name").fill(name)
            page.keyboard.press("Enter")
            expect(page.locator("#last-words b")).to_have_text(name)
        page.locator("#adapt").click()
        expect(page.locator("#classes > li")).to_have_count(4)
        stage.step(30)
        expect(page.locator("#answered-frames")).to_have_text(str(stage.snapshot().flow.seen))
        assert visit.complaints == []


def test_one_class_of_a_thousand_is_found(browser: Browser) -> None:
    script = SCRIPTS["thousand classes"]
    with served(script) as (stage, address), visiting(browser, address) as visit:
        page = visit.page
        settled(page, stage.script)
        page.keyboard.press("/")
        expect(page.locator("#pad-filter")).to_be_focused()
        page.keyboard.type("class 77")
        expect(page.locator("#pad .name")).to_have_count(11)
        page.keyboard.type("7")
        page.keyboard.press("Enter")
        expect(page.locator("#last-words")).to_contain_text("is class 777")
        page.locator("#pad-filter").fill("unicorn")
        expect(page.locator("#pad-none")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#pad .name").nth(1)).to_have_text("class 777")
        page.keyboard.press("2")  # what was given lately is at hand
        expect(page.locator("#strip li")).to_have_count(QUEUED - 2)
        rows = page.locator("#classes > li")
        expect(rows).to_have_count(12)
        page.locator("#more-classes").click()
        expect(rows).to_have_count(72)
        page.locator("#class-filter").fill("class 99")
        expect(rows).to_have_count(11)
        page.locator("#class-filter").fill("unicorn")
        expect(page.locator("#no-classes")).to_be_visible()


def test_before_the_first_frame_the_page_says_what_is_missing(browser: Browser) -> None:
    with served(SCRIPTS["nothing yet"]) as (stage, address), visiting(browser, address) as visit:
        page = visit.page
        expect(page.locator("#lede")).to_contain_text("No frame was seen yet")
        for part in ("#no-frame", "#no-question", "#no-decision", "#no-limit"):
            expect(page.locator(part)).to_be_visible()
        stage.step()
        expect(page.locator("#no-frame")).to_be_hidden()
        expect(page.locator("#prediction")).not_to_be_empty()
        assert visit.complaints == []


def test_signals_are_drawn(browser: Browser) -> None:
    with served(SCRIPTS["signals"]) as (stage, address), visiting(browser, address) as visit:
        settled(visit.page, stage.script)
        drawn = """() => new Set(document.querySelector('#frame').getContext('2d')
            .getImageData(0, 0, 640, 320).data).size"""
        assert visit.page.evaluate(drawn) > 2


def test_everything_is_reached_and_seen_with_keys_alone(browser: Browser) -> None:
    with served() as (stage, address), visiting(browser, address) as visit:
        page = visit.page
        settled(page, stage.script)
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        for target in ("#earlier", "#later", "#question"):
            page.keyboard.press("Tab")
            expect(page.locator(target)).to_be_focused()
        page.keyboard.press("3")
        expect(page.locator("#strip li")).to_have_count(QUEUED - 1)
        expect(page.locator("#question")).to_be_focused()
        wanted = page.evaluate(
            """() => [...document.querySelectorAll('a, button, input, select, [tabindex="0"]')]
                .filter(node => node.checkVisibility() && !node.disabled)
                .filter((node, place) => (node.dataset.wanted = place) || true).length"""
        )
        seen = set()
        for _ in range(wanted + 2):
            page.keyboard.press("Tab")
            place, outline = page.evaluate(
                """() => [document.activeElement.dataset.wanted,
                    getComputedStyle(document.activeElement).outlineStyle]"""
            )
            if place is not None:
                assert outline != "none", place
                seen.add(place)
        assert len(seen) == wanted


def test_focus_stays_where_it_is_while_news_come(browser: Browser) -> None:
    with served() as (stage, address), visiting(browser, address) as visit:
        page = visit.page
        settled(page, stage.script)
        for target in ("#classes button", "#pad button", "#strip button", "#versions-list button"):
            held = page.locator(target).last
            held.focus()
            label = held.text_content()
            frames = stage.snapshot().flow.seen + 10
            stage.step(10)
            expect(page.locator("#answered-frames")).to_have_text(f"{frames:,}")
            assert held.evaluate("node => node === document.activeElement"), target
            assert held.text_content() == label or target == "#classes button"


def test_fingers_find_every_control(browser: Browser) -> None:
    with (
        served() as (stage, address),
        visiting(browser, address, 390, 844, has_touch=True, is_mobile=True) as visit,
    ):
        settled(visit.page, stage.script)
        small = """least => [...document.querySelectorAll('button, input, select')]
            .filter(node => node.checkVisibility())
            .map(node => [node.outerHTML.slice(0, 80), node.getBoundingClientRect()])
            .filter(([, box]) => Math.min(box.width, box.height) < least)
            .map(([html]) => html)"""
        assert visit.page.evaluate(small, TOUCHED_PX) == []


def test_nothing_moves_for_those_who_asked_for_that(browser: Browser) -> None:
    with (
        served() as (stage, address),
        visiting(browser, address, reduced_motion="reduce") as visit,
    ):
        settled(visit.page, stage.script)
        stage.turn("learning")
        expect(visit.page.locator("#phase")).to_have_text("learning")
        assert visit.page.evaluate("document.getAnimations().length") == 0


def test_measured_and_estimated_joules_are_never_added_up(browser: Browser) -> None:
    with served() as (stage, address):
        made = stage._made

        def mixed() -> object:
            snapshot = made()
            first = snapshot.spent[0]
            energy = replace(first.energy, origin="measured")
            return replace(snapshot, spent=(replace(first, energy=energy), *snapshot.spent[1:]))

        stage._made = mixed  # type: ignore[method-assign, assignment]
        stage.step()
        with visiting(browser, address) as visit:
            totals = visit.page.locator(".spent-group .total")
            expect(totals.locator(".origin")).to_have_text(["measured", "estimated"])
