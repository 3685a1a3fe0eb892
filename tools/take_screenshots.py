"""Take the pictures of the live page in docs/screenshots: a scripted device, a real browser.

python -m tools.take_screenshots [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, expect

from tests.serve.stage import QUEUED, staged
from tests.serve.visiting import chromium, serving

FOLDER = Path(__file__).parents[1] / "docs" / "screenshots"
SCREENS = {
    "phone": ViewportSize(width=390, height=844),
    "desktop": ViewportSize(width=1440, height=900),
}
FRAMES = 300
"""After which there is fog, and nothing was learned against it yet."""


def take_screenshots(folder: Path) -> list[Path]:
    """One picture of the whole page for each screen, in light and in dark.

    Args:
        folder: is made if it is missing.

    Returns:
        The pictures, PNG.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with chromium() as browser, staged() as stage, serving(stage) as address:
        stage.step(FRAMES)
        for name, screen in SCREENS.items():
            for scheme in ("light", "dark"):
                dark = scheme == "dark"
                context = browser.new_context(
                    viewport=screen, color_scheme="dark" if dark else "light", timezone_id="UTC"
                )
                page = context.new_page()
                page.goto(address)
                _settle(page)
                path = folder / f"page-{name}-{scheme}.png"
                page.screenshot(path=path, full_page=True)
                context.close()
                taken.append(path)
    return taken


def _settle(page: Page) -> None:
    """Wait until everything is drawn."""
    expect(page.locator("#strip li")).to_have_count(QUEUED)
    expect(page.locator("#prediction")).not_to_be_empty()
    expect(page.locator("#chart .curve")).to_be_visible()
    expect(page.locator("#classes .strip .above[d]").first).to_be_attached()
    expect(page.locator("#versions-list > li").first).to_be_visible()
    # Where a device of a real deployment keeps it, instead of a temporary directory.
    page.locator("#state").evaluate(
        "node => { node.textContent = '~/.local/share/sel-edge/state'; }"
    )
    for picture in page.locator("#questions img").all():
        expect(picture).to_have_js_property("complete", True)


if __name__ == "__main__":
    for picture in take_screenshots(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(picture)
