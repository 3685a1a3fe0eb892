"""The page in a real browser: every control does what it says, for one visitor and for two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from sel_edge.core.errors import StorageError
from sel_edge.runtime.samples import LabelDesk
from sel_edge.runtime.samples.desk import SAMPLES_FILE
from tests.serve.stage import CIFAR_CLASSES, QUEUED, Script, Stage
from tests.serve.visiting import Visit, chromium, served, serving, visiting

pytestmark = pytest.mark.proof

TOKEN = "a token of more than sixteen characters".replace(" ", "-")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def lived(browser: Browser) -> Iterator[tuple[Stage, Visit]]:
    """A visitor of a device, who must hear no complaint from the browser."""
    with served() as (stage, address), visiting(browser, address) as visit:
        yield stage, visit
        assert visit.complaints == []


def answers(stage: Stage) -> tuple[dict[str, int], int]:
    """Class -> labels, and how many frames are not useful, as the store has it."""
    with LabelDesk(stage.state / SAMPLES_FILE) as desk:
        counts = desk.counts()
    return dict(counts.labels), counts.not_useful


def pad(page: Page, name: str) -> Locator:
    """The button of a class."""
    return page.locator("#pad button").filter(has=page.get_by_text(name, exact=True))


def waits(page: Page, number: int) -> None:
    """So many frames wait, says the page, and shows them."""
    expect(page.locator("#waiting")).to_have_text(f"{number} waiting")
    expect(page.locator("#strip li")).to_have_count(number)


def test_newest_frame_is_shown_with_what_was_said_of_it(lived: tuple[Stage, Visit]) -> None:
    stage, visit = lived
    page = visit.page
    for _ in range(3):
        stage.step()
        newest = stage.snapshot().answer
        assert newest is not None
        expect(page.locator("#frame-when")).to_contain_text(f"frame {newest.frame:,} ")
        expect(page.locator("#prediction")).to_have_text(newest.prediction)
        expect(page.locator("#confidence-share")).to_contain_text(f"{100 * newest.confidence:.0f}")
    assert page.locator("#frame").evaluate("node => [node.width, node.height]") == [32, 32]
    expect(page.locator("#answered-frames")).to_have_text(f"{stage.snapshot().flow.seen:,}")


def test_one_click_answers_a_frame(lived: tuple[Stage, Visit]) -> None:
    stage, visit = lived
    before, _ = answers(stage)
    waits(visit.page, QUEUED)
    pad(visit.page, "deer").click()
    waits(visit.page, QUEUED - 1)
    expect(visit.page.locator("#last-words")).to_contain_text("is deer")
    assert answers(stage)[0]["deer"] == before["deer"] + 1


@pytest.mark.parametrize("key", ["1", "4", "0"])
def test_a_key_answers_with_its_class(lived: tuple[Stage, Visit], key: str) -> None:
    stage, visit = lived
    name = CIFAR_CLASSES[int(key) - 1]
    before, _ = answers(stage)
    waits(visit.page, QUEUED)
    visit.page.keyboard.press(key)
    waits(visit.page, QUEUED - 1)
    assert answers(stage)[0][name] == before[name] + 1


def test_not_useful_and_changing_the_last_answer(lived: tuple[Stage, Visit]) -> None:
    stage, visit = lived
    page = visit.page
    before, _ = answers(stage)
    waits(page, QUEUED)
    asked = page.locator("#question-picture").get_attribute("src")
    page.locator("#not-useful").click()
    waits(page, QUEUED - 1)
    assert answers(stage) == (before, 1)
    page.locator("#change-last").click()
    expect(page.locator("#question-picture")).to_have_attribute("src", asked or "")
    pad(page, "frog").click()
    expect(page.locator("#last-words")).to_contain_text("is frog")
    assert answers(stage) == ({**before, "frog": before["frog"] + 1}, 0)
    page.locator("#question").press("x")
    waits(page, QUEUED - 2)
    page.keyboard.press("u")
    page.keyboard.press("2")
    expect(page.locator("#last-words")).to_contain_text("is automobile")
    assert answers(stage)[0]["automobile"] == before["automobile"] + 1


def test_frames_can_be_looked_at_in_any_order(lived: tuple[Stage, Visit]) -> None:
    _, visit = lived
    page = visit.page
    picture, current = page.locator("#question-picture"), page.locator("#strip [aria-current]")
    thumbs = page.locator("#strip button")
    expect(thumbs).to_have_count(QUEUED)
    sources = [one.get_attribute("src") or "" for one in page.locator("#strip img").all()]
    assert len(set(sources)) == QUEUED
    expect(page.locator("#earlier")).to_be_disabled()
    for act, place in (
        (lambda: page.locator("#later").click(), 1),
        (lambda: page.keyboard.press("ArrowRight"), 2),
        (lambda: page.keyboard.press("ArrowLeft"), 1),
        (lambda: page.locator("#earlier").click(), 0),
        (lambda: thumbs.nth(7).click(), 7),
        (lambda: thumbs.nth(QUEUED - 1).click(), QUEUED - 1),
    ):
        act()
        expect(picture).to_have_attribute("src", sources[place])
        expect(current).to_have_count(1)
    expect(page.locator("#later")).to_be_disabled()


def test_a_new_class_is_learned_and_seen_in_the_page(lived: tuple[Stage, Visit]) -> None:
    stage, visit = lived
    page = visit.page
    waits(page, QUEUED)
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    expect(page.locator("#new-class-form")).to_be_hidden()
    page.locator("#new-class").click()
    page.keyboard.type("hedgehog")
    page.keyboard.press("Enter")
    waits(page, QUEUED - 1)
    assert answers(stage)[0]["hedgehog"] == 1
    expect(pad(page, "hedgehog")).to_be_visible()
    page.locator("#adapt").click()
    expect(page.locator("#toast")).to_contain_text("Kept: held-out embarrassment fell")
    first = page.locator("#decisions-list > li").first
    expect(first).to_contain_text("Kept")
    expect(first).to_contain_text("hedgehog")
    stage.step(8)
    page.locator("#order").select_option("name")
    expect(page.locator("#classes .name").filter(has_text="hedgehog")).to_be_visible()
    expect(page.locator("#versions-list .current")).to_contain_text("learned hedgehog")


def test_networks_go_back_and_forward_after_a_question(lived: tuple[Stage, Visit]) -> None:
    stage, visit = lived
    page = visit.page
    stage.adapt().result()
    stage.adapt().result()
    current = page.locator("#versions-list .current b")
    expect(current).to_have_text("Update 3")
    own = page.locator("#versions-list > li").last
    own.get_by_role("button").click()
    expect(page.locator("#confirm")).to_contain_text("Roll back to the bundle’s own network?")
    page.locator("#confirm-no").click()
    expect(page.locator("#confirm")).to_be_hidden()
    expect(current).to_have_text("Update 3")
    own.get_by_role("button").click()
    page.keyboard.press("Escape")
    page.locator("#undo").click()
    page.locator("#confirm-yes").click()
    expect(current).to_have_text("Update 2")
    page.get_by_role("button", name="Go forward to Update 3").click()
    page.locator("#confirm-yes").click()
    expect(current).to_have_text("Update 3")
    own.get_by_role("button").click()
    page.locator("#confirm-yes").click()
    expect(current).to_have_text("The bundle’s own")
    expect(page.locator("#undo")).to_be_disabled()
    expect(page.locator("#decisions-list > li").first).to_contain_text("Rolled back")


def test_bundle_is_reloaded(lived: tuple[Stage, Visit]) -> None:
    _, visit = lived
    visit.page.locator("#reload").click()
    visit.page.locator("#confirm-yes").click()
    expect(visit.page.locator("#decisions-list > li").first).to_contain_text("Bundle reloaded")


def test_charts_tell_their_numbers_to_pointer_and_keys(lived: tuple[Stage, Visit]) -> None:
    stage, visit = lived
    page = visit.page
    readout, chart = page.locator("#chart-readout"), page.locator("#chart")
    expect(readout).to_contain_text("now ")
    points = stage.snapshot().points
    chart.focus()
    page.keyboard.press("Home")
    first = sum(points[0].values.values()) / len(points[0].values)
    expect(readout).to_contain_text(f"frame {points[0].frame:,} · {first:.2f} nats")
    expect(chart).to_have_attribute("aria-valuetext", readout.inner_text())
    page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text(f"frame {points[1].frame:,} ")
    page.keyboard.press("Escape")
    expect(readout).to_contain_text("now ")
    chart.hover()
    expect(readout).to_contain_text(" nats")
    row = page.locator("#classes button").filter(has_text="cat")
    row.click()
    expect(page.locator("#chart-title")).to_have_text("cat")
    expect(row).to_have_attribute("aria-pressed", "true")
    page.locator("#all-together").click()
    expect(page.locator("#chart-title")).to_have_text("All classes, mean")


def test_classes_are_ordered_as_asked_and_say_how_they_are_known(
    lived: tuple[Stage, Visit],
) -> None:
    stage, visit = lived
    page = visit.page
    names = page.locator("#classes .name")
    page.locator("#order").select_option("name")
    expect(names).to_have_text(sorted(CIFAR_CLASSES))
    page.locator("#order").select_option("network")
    expect(names).to_have_text(list(CIFAR_CLASSES))
    page.locator("#order").select_option("most")
    now = {
        name: each.standin if each.exact is None else each.exact
        for name, each in stage.snapshot().embarrassment.items()
    }
    expect(names).to_have_text(sorted(now, key=lambda name: -(now[name] or 0.0)))
    for name, each in stage.snapshot().embarrassment.items():
        row = page.locator("#classes button").filter(has_text=name)
        expect(row).to_contain_text("estimated" if each.exact is None else f"{each.labels} labels")
        expect(row).to_contain_text(f"{now[name]:.2f}")


def test_decisions_are_filtered_and_more_are_shown(lived: tuple[Stage, Visit]) -> None:
    stage, visit = lived
    page = visit.page
    stage.step(1200)
    entries = page.locator("#decisions-list > li")
    expect(entries).to_have_count(6)
    page.locator("#more-decisions").click()
    expect(entries).to_have_count(len(stage.snapshot().events))
    expect(page.locator("#more-decisions")).to_be_hidden()
    page.locator("#kinds").select_option("outcomes")
    expect(entries.filter(has_text="Began to learn")).to_have_count(0)
    expect(entries.filter(has_text="Kept").first).to_be_visible()
    page.locator("#kinds").select_option("service")
    expect(page.locator("#no-decision")).to_be_visible()


def test_wallet_marks_every_number(lived: tuple[Stage, Visit]) -> None:
    _, visit = lived
    balances = visit.page.locator("#balances > li")
    expect(balances.nth(0)).to_contain_text("Energy in 24 hours")
    expect(balances.locator(".origin")).to_have_text(["estimated", "counted", "counted"])
    group = visit.page.locator(".spent-group")
    expect(group).to_have_count(1)
    expect(group.locator(".total")).to_contain_text("estimated")
    expect(group.locator("tbody th")).to_have_text(
        ["Answering and watching", "Learning: classifier"]
    )


def test_theme_follows_the_system_until_one_is_chosen(browser: Browser) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    with served() as (_, address), visiting(browser, address, color_scheme="dark") as visit:
        page = visit.page
        dark = page.evaluate(color)
        page.emulate_media(color_scheme="light")
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        light = page.evaluate(color)
        assert light != dark
        for chosen, expected in (
            ("light", light),
            ("dark", dark),
            ("auto", light),
            ("light", light),
        ):
            page.locator("#theme").click()
            expect(page.locator("#theme")).to_have_attribute("aria-label", f"Theme: {chosen}")
            assert page.evaluate(color) == expected
        page.emulate_media(color_scheme="dark")
        page.reload()
        assert page.evaluate(color) == light


def test_help_and_keys_that_can_be_turned_off(lived: tuple[Stage, Visit]) -> None:
    _, visit = lived
    page = visit.page
    waits(page, QUEUED)
    page.keyboard.press("?")
    expect(page.locator("#help-dialog")).to_be_visible()
    page.keyboard.press("x")  # behind a dialog nothing is answered
    page.locator("#keys-on").uncheck()
    page.locator("#help-close").click()
    page.locator("#help").press("x")
    page.locator("#help").click()
    page.keyboard.press("Escape")
    waits(page, QUEUED)
    page.locator("#question").press("x")  # within the questions they always work
    waits(page, QUEUED - 1)
    page.reload()
    expect(page.locator("#keys-on")).not_to_be_checked()


def test_two_visitors_see_the_same(browser: Browser) -> None:
    with (
        served() as (stage, address),
        visiting(browser, address) as one,
        visiting(browser, address, 390, 844) as other,
    ):
        waits(other.page, QUEUED)
        asked = other.page.locator("#question-picture").get_attribute("src") or ""
        expect(one.page.locator("#question-picture")).to_have_attribute("src", asked)
        one.page.keyboard.press("6")
        waits(other.page, QUEUED - 1)
        expect(other.page.locator("#question-picture")).not_to_have_attribute("src", asked)
        expect(other.page.locator("#toast")).to_contain_text("answered elsewhere")
        expect(pad(other.page, "dog").locator(".labels")).to_have_text(
            str(answers(stage)[0]["dog"])
        )
        other.page.locator("#adapt").click()
        expect(one.page.locator("#decisions-list > li").first).to_contain_text("Kept")
        assert one.complaints + other.complaints == []


def test_lost_connection_is_said_and_found_again(browser: Browser) -> None:
    with served() as (stage, _):
        with serving(stage) as address:
            port = int(address.rsplit(":", 1)[1].strip("/"))
            context = visiting(browser, address)
            page = context.__enter__().page
            waits(page, QUEUED)
        expect(page.locator("#lost")).to_contain_text("The connection to the device is lost")
        with LabelDesk(stage.state / SAMPLES_FILE) as desk:
            desk.answer(desk.queue(1)[0].id, "bird")
        stage.step()
        with serving(stage, port=port):
            expect(page.locator("#lost")).to_be_hidden()
            waits(page, QUEUED - 1)
            context.__exit__(None, None, None)


def test_token_is_asked_for_and_kept_out_of_sight(browser: Browser) -> None:
    with served(token=TOKEN) as (_, address), visiting(browser, address) as visit:
        page = visit.page
        expect(page.locator("#login-form")).to_be_visible()
        expect(page.locator("#page")).to_be_hidden()
        expect(page.locator("#adapt, #parts").locator("visible=true")).to_have_count(0)
        assert visit.complaints == []
        page.locator("#token").fill("wrong" * 4)
        page.keyboard.press("Enter")
        expect(page.locator("#login-error")).to_contain_text("The token is wrong.")
        page.locator("#token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        waits(page, QUEUED)
        expect(page.get_by_role("heading", name="cellar")).to_be_visible()
        expect(page.locator("#adapt")).to_be_visible()
        assert page.locator("#token").input_value() == ""
        page.reload()
        waits(page, QUEUED)
        assert not [url for url in visit.requests if TOKEN in url]
        assert TOKEN not in str(page.evaluate("[document.cookie, {...localStorage}]"))
        page.locator("#logout").click()
        expect(page.locator("#login-form")).to_be_visible()
        page.reload()
        expect(page.locator("#login-form")).to_be_visible()


def test_session_that_ends_leads_to_the_form(browser: Browser) -> None:
    with served(token=TOKEN) as (stage, address), visiting(browser, address) as visit:
        visit.page.locator("#token").fill(TOKEN)
        visit.page.keyboard.press("Enter")
        waits(visit.page, QUEUED)
        visit.page.context.clear_cookies()
        stage.step()
        expect(visit.page.locator("#login-form")).to_be_visible()
        expect(visit.page.locator("#page")).to_be_hidden()


def test_troubles_of_the_device_are_told_in_full_sentences(browser: Browser) -> None:
    full = StorageError("The disk is full.", "Some space is needed.", "Delete something.")
    script = Script(failure=full)
    with served(script) as (stage, address), visiting(browser, address) as visit:
        page = visit.page
        stage.fail("The disk is full.")
        expect(page.locator("#trouble")).to_contain_text("The disk is full. (1 error")
        page.locator("#adapt").click()
        told = page.locator("#toast.bad")
        expect(told).to_have_text("The disk is full. Some space is needed. Delete something.")
        expect(page.locator("#adapt")).to_be_enabled()
        stage.fail("")
        expect(page.locator("#trouble")).to_be_hidden()
        stage.turn("learning")
        expect(page.locator("#adapt")).to_be_disabled()
        expect(page.locator("#lede")).to_contain_text("It is learning.")
