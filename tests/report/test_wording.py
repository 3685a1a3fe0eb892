"""Numbers read properly in every range, and no text breaks out of what it is put into."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sel_edge.report import wording

PREFIXES = {"": 1.0, "m": 1e-3, "µ": 1e-6, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


def plain(text: str) -> str:
    return text.replace(wording.NBSP, " ")


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.99, "99.0 % less"),
        (0.5804, "58.0 % less"),
        (-0.12, "12.0 % more"),
        (0.0, "the same"),
        (-0.0004, "the same"),
        (0.99995, "over 99.9 % less"),
        (1.0, "100.0 % less"),
        (-3.5, "4.5 times as much"),
        (None, wording.UNKNOWN),
    ],
)
def test_a_saving_reads_properly_also_when_it_is_a_loss(share: float | None, expected: str) -> None:
    assert plain(wording.saved(share)) == expected


def test_counted_things_are_fewer_and_many() -> None:
    assert plain(wording.saved(0.5, "fewer")) == "50.0 % fewer"
    assert plain(wording.saved(-1, "fewer")) == "2.0 times as many"


@given(st.floats(1e-6, 9e17))
def test_a_scaled_number_keeps_three_digits_and_its_size(value: float) -> None:
    match = re.fullmatch(r"([\d.,]+) (.?)J", plain(wording.scaled(value, "J")))
    assert match is not None
    number = float(match[1].replace(",", ""))
    assert number * PREFIXES[match[2]] == pytest.approx(value, rel=0.006)
    assert number < 1000


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.034, "34 ms"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (859.4, "14 min 19 s"),
        (3599.6, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
        (None, wording.UNKNOWN),
    ],
)
def test_durations(seconds: float | None, expected: str) -> None:
    assert plain(wording.duration(seconds)) == expected


def test_points_have_a_real_minus_sign_and_no_negative_zero() -> None:
    assert plain(wording.points(-0.11)) == "−11.0 points"
    assert plain(wording.points(-0.0001)) == "no change"


def test_energy_always_names_its_origin() -> None:
    assert plain(wording.energy(0.4, "estimated")) == "400 mJ estimated"
    assert "unknown origin" in wording.energy(0.4, None)


@given(st.text(), st.integers(1, 30))
def test_printable_text_is_one_line_without_control_characters(text: str, width: int) -> None:
    shown = wording.printable(text, width)
    assert shown.replace(wording.NBSP, " ").isprintable()
    assert len(shown) <= width


@given(st.lists(st.text(st.characters()), min_size=1))
def test_class_names_are_fit_for_a_terminal(classes: list[str]) -> None:
    assert wording.names(classes).replace(wording.NBSP, " ").isprintable()


@pytest.mark.parametrize(
    ("rung", "domain", "is_new", "words"),
    [
        ("norm", 2, True, "normalization re-estimated for a new domain, number 2"),
        ("norm", 2, False, "normalization re-estimated for domain 2"),
        ("norm", 0, False, "normalization re-estimated for the bundle's own domain"),
        ("head", 0, False, "classifier rows of cat, truck"),
        ("tail", 3, False, "channels of the last block for cat, truck, in domain 3"),
        ("full", 0, False, "all weights for cat, truck"),
        ("other", 0, False, "rung other for cat, truck"),
    ],
)
def test_every_rung_says_what_it_changed(rung: str, domain: int, is_new: bool, words: str) -> None:
    assert wording.changed(rung, domain, ("cat", "truck"), is_new) == words


def test_a_rung_that_is_for_no_class_names_none() -> None:
    assert wording.changed("deep", 0, (), False) == "channels of the later layers"


@pytest.mark.parametrize(
    ("meter", "words"),
    [
        ("rapl:package-0+package-1", "whole processor package, idle power and other processes"),
        ("nvml:GPU-1 (GPU only)", "GPU only"),
        ("profile:pi-4b", "processor time times the profile's watts above idle"),
        ("something new", "Joules measured by something new."),
    ],
)
def test_every_meter_says_what_it_counts(meter: str, words: str) -> None:
    said = wording.joules_by(meter, "measured")
    assert said.startswith(f"Joules measured by {meter}")
    assert words in said


@given(st.text(alphabet="ab |\\`*_[]<>#~&;!\"'-+.1()\n$é猫", min_size=1))
def test_markdown_shows_exactly_the_text(text: str) -> None:
    source = f"| x |\n|---|\n| {wording.markdown(text)} |\n"
    rendered = MarkdownIt("commonmark").enable("table").render(source)
    cell = re.search(r"<td>(.*)</td>", rendered)
    assert cell is not None
    assert html.unescape(cell[1]) == wording.printable(text)
