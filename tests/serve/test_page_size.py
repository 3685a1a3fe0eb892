"""The page's files: small, complete, in the house's colours, and asking nobody for anything."""

from __future__ import annotations

import re
from importlib import resources

from sel_edge.report import palette
from sel_edge.serve.web.pages import page_files

LIMIT_BYTES = 200 * 1024
PAGE = resources.files("sel_edge.serve") / "page"
MODULES = {entry.name: entry.read_text("utf-8") for entry in (PAGE / "modules").iterdir()}
LOOSE = {entry.name: entry.read_text("utf-8") for entry in PAGE.iterdir() if entry.is_file()}
FILES = LOOSE | MODULES
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
COLOURS = ("paper", "ink", "muted", "grid", "band", "dense", "sel", "right", "wrong")


def variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def blocks() -> tuple[dict[str, str], dict[str, str]]:
    """Custom properties of the light and of the dark theme."""
    light, dark = re.findall(r"^:root.*?\{(.*?)^\}", FILES["page.css"], re.DOTALL | re.MULTILINE)
    return variables(light), variables(dark)


def test_all_files_together_stay_under_200_kb() -> None:
    served = page_files()
    assert 0 < sum(len(served[path].content) for path in served.keys() - {"/"}) < LIMIT_BYTES


def test_colours_are_those_of_the_report() -> None:
    light, dark = blocks()
    for name in COLOURS:
        colour = getattr(palette, name.upper())
        assert light[name] == colour, name
        assert dark[name] == palette.DARK[colour], name


def test_both_themes_define_the_same_properties() -> None:
    light, dark = blocks()
    assert light.keys() == dark.keys()


def test_every_file_that_is_named_is_served_and_every_file_is_named() -> None:
    named = set(re.findall(r'(?:href|src)="([\w.-]+\.(?:js|css|svg))"', LOOSE["index.html"]))
    assert {f"/{name}" for name in (*named, "index.html", "")} == page_files().keys()
    assert named == LOOSE.keys() - {"index.html"} | {"page.js"}


def test_the_one_script_has_every_module_once_and_imports_nothing() -> None:
    script = page_files()["/page.js"].content.decode()
    begun = re.findall(r"^const \$(\w+) = ", script, re.MULTILINE)
    assert sorted(begun) == sorted(name.removesuffix(".js") for name in MODULES)
    assert not re.search(r"^(?:import|export)\b", script, re.MULTILINE)


def test_every_id_that_a_script_looks_for_is_in_the_page() -> None:
    ids = re.findall(r'\sid="([\w-]+)"', FILES["index.html"])
    assert len(ids) == len(set(ids))
    for name, text in SCRIPTS.items():
        assert set(re.findall(r'find\("([\w-]+)"\)', text)) <= set(ids), name


def test_nothing_is_inline_and_nothing_is_asked_of_others() -> None:
    index = FILES["index.html"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", index)
    for name, text in FILES.items():
        addresses = re.findall(r"\bhttps?://[^\s\"']+", text)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, name


def test_text_from_outside_never_becomes_markup() -> None:
    for name, text in SCRIPTS.items():
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
            r"|\.style\b",
            text,
        )
        assert found == [], name
