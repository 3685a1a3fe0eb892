"""A device's page in words that its owner understands, with what was predicted beside what was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sel_edge.core.ledger import Decision, Ledger, LedgerWriter, Tick, Update, read_ledger
from sel_edge.core.measurement import Energy
from sel_edge.report.numbers import collect, gather
from sel_edge.report.page import write_report
from sel_edge.report.story import tell
from sel_edge.report.stream import Stream, sum_up
from sel_edge.report.stream_view import MOST_ROWS, view_stream
from sel_edge.report.view import Table
from tests.core import ledgers

Make = Callable[..., Path]
SHORT = "energy_j_per_day: 120 J needed, 40 J free, 80 J short. Refilled in 2 h."
NORM = ledgers.update(
    frame=24,
    rung="norm",
    domain=1,
    classes=(),
    frames=64,
    labels=0,
    steps=0,
    held_out=64,
    exact=False,
    delta_bytes=2048,
    anchors_before=None,
    anchors_after=None,
    energy=Energy(2.0, "measured"),
)


def summed(
    ticks: list[Tick] | None = None,
    updates: list[Update] | None = None,
    decisions: list[Decision] | None = None,
) -> Stream:
    ledger = Ledger({}, ticks or [ledgers.tick()], decisions or [], updates or [], [])
    return sum_up(replace(ledger, balances=[ledgers.balances(8)]), ".")


def table_of(stream: Stream, title: str) -> Table:
    return next(table for table in view_stream(stream).tables if table.title == title)


def rows_of(stream: Stream, title: str) -> list[tuple[str, ...]]:
    """A table's rows with plain spaces."""
    rows = table_of(stream, title).rows
    return [tuple(cell.replace("\u00a0", " ") for cell in row) for row in rows]


def test_an_update_says_what_was_changed_on_what_proof_and_at_what_cost() -> None:
    head, norm = rows_of(summed(updates=[ledgers.update(), NORM]), "Updates")
    assert head == (
        "10",
        "✓ kept",
        "classifier rows of cat; 640 B",
        "20 labels, 30 steps",
        "8 labels: 1.90 → 0.80, predicted gain 0.90",
        "0.30 → 0.30",
        "5 kFLOP, predicted 6 kFLOP",
        "250 mJ estimated, predicted 300 mJ",
        "200 ms, predicted 400 ms",
    )
    assert norm[2:6] == (
        "normalization re-estimated for a new domain, number 1; 2.05 kB",
        "64 unlabelled frames",
        "64 frames, stand-in: 1.90 → 0.80, predicted gain 0.90",
        "–",
    )
    assert norm[7] == "2 J measured, predicted 300 mJ"


def test_a_domain_is_new_until_it_has_kept_a_normalization() -> None:
    rejected = replace(NORM, kept=False, delta_bytes=0)
    shown = [row[2] for row in rows_of(summed(updates=[rejected, NORM, NORM]), "Updates")]
    assert shown == [
        "normalization re-estimated for a new domain, number 1",
        "normalization re-estimated for a new domain, number 1; 2.05 kB",
        "normalization re-estimated for domain 1; 2.05 kB",
    ]


def test_an_update_that_was_stopped_was_not_judged() -> None:
    (row,) = rows_of(summed(updates=[ledgers.stopped(predicted_gain=None, labels=0)]), "Updates")
    assert (row[1], row[3], row[4]) == ("■ stopped", "30 steps", "not judged")


def test_a_gain_that_nobody_predicted_is_not_made_up() -> None:
    (row,) = rows_of(summed(updates=[ledgers.update(predicted_gain=None)]), "Updates")
    assert row[4] == "8 labels: 1.90 → 0.80"


def test_what_was_put_off_has_a_table_with_the_reason() -> None:
    decisions = [Decision(8, "defer", SHORT, ("cat",)), Decision(8, "fire", "why", ("cat",))]
    stream = summed(decisions=decisions)
    assert rows_of(stream, "Put off by the budget") == [("8", "cat", SHORT)]
    assert [row[1] for row in rows_of(stream, "Decisions")] == ["put off", "noticed"]
    many = summed(decisions=[Decision(8, "defer", SHORT, ())] * (MOST_ROWS + 1))
    assert "The last 200 of 201." in table_of(many, "Put off by the budget").note


def test_domains_are_told_with_where_they_were_met() -> None:
    ticks = [
        ledgers.tick(0, 8, segment="a"),
        ledgers.tick(8, 8, segment="b", domains={"0": 2, "1": 6}, novel=3),
    ]
    stream = summed(ticks)
    assert rows_of(stream, "Domains") == [
        ("0, the bundle's own", "10", "62.5 %", "1"),
        ("1", "6", "37.5 %", "2"),
    ]
    assert table_of(stream, "Domains").note == "3 frames like none of the classes."


def test_costs_name_watching_and_every_rung() -> None:
    stream = summed([ledgers.tick(watching_flops=1000)], [ledgers.update(), NORM])
    assert [row[0] for row in rows_of(stream, "Cost")] == [
        "Inference",
        "Watching",
        "Learning, head",
        "Learning, norm",
    ]
    assert "divided by their FLOPs" in table_of(stream, "Cost").note
    plain = summed([ledgers.tick()])
    assert [row[0] for row in rows_of(plain, "Cost")] == ["Inference"]
    assert "divided" not in table_of(plain, "Cost").note


def test_the_trigger_stands_beside_the_trivial_ones(make_ledger: Make) -> None:
    stream = sum_up(read_ledger(make_ledger() / "ledger.sqlite"), ".")
    rows = rows_of(stream, "Was the trigger right?")
    assert rows == [
        ("ours", "2", "2", "1 of 1", "1.00"),
        ("fires at every tick", "10", "5", "1 of 1", "0.67"),
        ("never fires", "0", "0", "0 of 1", "0.00"),
    ]


def test_the_story_tells_of_the_budget_and_of_the_trigger(make_ledger: Make) -> None:
    directory = make_ledger()
    with LedgerWriter(directory / "ledger.sqlite") as ledger:
        decisions = [
            Decision(408, "defer", SHORT, ()),
            Decision(408, "rollback", "by hand", (), "c" * 64),
        ]
        ledger.record(ledgers.tick(400, 8), decisions, [ledgers.stopped(frame=408)])
    story = tell(gather(directory))
    told = " ".join(story.sentences).replace("\u00a0", " ")
    assert story.title.startswith("1 of 3 updates kept")
    assert "Learning was put off once by the budget." in told
    assert "; 1 update was stopped by the limits and undone; 1 update was dropped by the" in told
    assert "An earlier network was put back into use once." in told
    assert (
        "It noticed 1 of 1 segment in which the network got worse: F1 of its trigger is 1.00; of "
        "one that always fires 0.67, of one that never fires 0.00." in told
    )


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ([ledgers.stopped()], "1 update was stopped by the limits and undone."),
        ([ledgers.stopped(), ledgers.update()], "; every other update passed the check on"),
        ([ledgers.update()], "; every update passed the check on"),
    ],
)
def test_only_what_was_judged_passed_the_check(
    tmp_path: Path, updates: list[Update], words: str
) -> None:
    with LedgerWriter(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(ledgers.tick(), updates=updates)
    assert words in " ".join(tell(gather(tmp_path)).sentences)


def test_page_and_numbers_hold_the_wallet_and_every_kind_of_decision(tmp_path: Path) -> None:
    kinds = ("fire", "wants_labels", "keep", "reject", "defer", "stop")
    decisions = [Decision(10, kind, SHORT, ("cat",)) for kind in kinds]
    decisions += [Decision(10, "rollback", "by hand", (), "c" * 64)]
    with LedgerWriter(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(ledgers.tick(), decisions, [NORM], balances=ledgers.balances(10))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    for kind in (*kinds, "rollback"):
        assert f'class="sign {kind}"' in page
    assert page.count("What was left in the wallet") == 4  # label and title, at two widths
    assert "operations per day" in page
    numbers = json.loads(json.dumps(collect(tmp_path), allow_nan=False))
    (stream,) = numbers["streams"]
    assert numbers["schema"] == 2
    assert stream["wallet"]["holdings"]["battery"]["course"] == [[10, 0.1]]
    assert stream["updates"][0]["predicted_energy_j"] == 0.3
    assert stream["updates"][0]["energy"] == {"joules": 2.0, "origin": "measured"}
    assert stream["domains"] == {"0": 10}
