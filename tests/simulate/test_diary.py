"""What is recorded of the days, and what the page makes of it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import asdict, replace

import pytest

from sel_edge.core.ledger import Decision
from sel_edge.simulate.board import Drawn
from sel_edge.simulate.diary import ACCURACY_FRAMES, COLUMNS, Diary, Moment
from sel_edge.simulate.page import Setting, render
from sel_edge.simulate.summary import in_words, sum_up
from tests.simulate.gratings import PLENTY, Lived

DEFER = Decision(40, "defer", "head: battery: 2 J needed, <b>1 J</b> free", ("a",))


def moment(number: int, scored: int = 50, correct: int = 50, is_on: bool = True) -> Moment:
    return Moment(60.0 * number, 60.0, is_on, 100.0, 0.0, 0.5, 30.0, scored, scored, correct)


def test_accuracy_is_that_of_the_newest_frames() -> None:
    diary = Diary()
    for number in range(4):
        diary.add(moment(number, correct=0))
    for number in range(4, 8):
        diary.add(moment(number))
    diary.add(replace(moment(8, scored=0, correct=0), is_on=False))
    assert diary.accuracy == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1.0, None]
    assert ACCURACY_FRAMES == 200


def test_the_table_has_a_row_for_every_moment() -> None:
    diary = Diary()
    diary.add(moment(1))
    diary.add(replace(moment(2), decisions=(DEFER,)))
    diary.add(replace(moment(3, scored=0, correct=0), is_on=False, frames=16))
    rows = list(csv.DictReader(io.StringIO(diary.csv().decode())))
    assert tuple(rows[0]) == COLUMNS
    assert [row["accuracy"] for row in rows] == ["1.0", "1.0", ""]
    assert [row["defer"] for row in rows] == ["0", "1", "0"]
    assert [(row["answered"], row["missed"]) for row in rows][1:] == [("50", "0"), ("0", "16")]
    assert rows[1]["deferred_because"] == DEFER.reason


def test_the_sums_are_those_of_the_days(two_days: Lived) -> None:
    summary = sum_up(two_days.diary, two_days.board.drawn, PLENTY)
    assert summary.days_to_empty is None
    assert (summary.hours_off, summary.missed, summary.answered) == (0, 0, 1200)
    kept = sum(update.kept for update in two_days.ledger.updates)
    assert summary.decisions["keep"] == kept
    total = summary.idling_j + summary.answering_j + summary.learning_j
    assert total == pytest.approx(two_days.board.drawn.total_j)
    ticks = two_days.ledger.ticks
    right = sum(correct for tick in ticks for _, correct in tick.scores.values())
    assert summary.accuracy == right / 1200
    text = " ".join(in_words(summary))
    assert "on for all of 2 days" in text
    assert f"{kept} update" in text
    assert text.count("estimated") == 3


def test_the_sums_tell_of_nights_without_energy() -> None:
    diary = Diary()
    for number in range(1, 5):
        diary.add(replace(moment(number), is_on=number != 3))
    summary = sum_up(diary, Drawn(), PLENTY)
    assert asdict(summary)["days_to_empty"] == 120 / 86_400
    assert summary.hours_off == pytest.approx(1 / 60)
    assert summary.missed == 50
    assert "ran out of energy after 2 min" in in_words(summary)[0]


def test_the_page_is_one_file_with_a_chart_of_each_kind(two_days: Lived) -> None:
    diary = Diary()
    for one in two_days.diary.moments:
        diary.add(one)
    diary.add(replace(diary.moments[-1], decisions=(DEFER,)))
    summary = sum_up(diary, two_days.board.drawn, PLENTY)
    setting = Setting("bundle & <co>", "npz:<x>", "pi-zero-2w", {"Air": "25 °C"})
    page = render(setting, diary, summary, PLENTY, 75.0, two_days.ledger.balances)
    assert page.count("<svg") == 10  # five charts, for narrow and for wide screens
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert "<b>1 J</b>" not in page
    assert "bundle &amp; &lt;co&gt;" in page
    assert "day 3, 00:00" in page
