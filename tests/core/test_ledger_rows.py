"""Every record of a ledger comes back from its row, and says what it must."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import (
    Balances,
    ClassEmbarrassment,
    Decision,
    Levels,
    Session,
    Tick,
    Update,
)
from sel_edge.core.ledger_rows import (
    balances_from_row,
    decision_from_row,
    levels_from_row,
    session_from_row,
    tick_from_row,
    to_row,
    update_from_row,
)
from sel_edge.core.measurement import Energy
from tests.core import ledgers

NUMBERS = st.floats(0, 1e12, allow_nan=False)
COUNTS = st.integers(0, 2**40)
NAMES = st.text(min_size=1, max_size=8)
ENERGY = st.builds(Energy, NUMBERS, st.sampled_from(["measured", "estimated"]))
WINDOWS = st.builds(ClassEmbarrassment, st.none() | NUMBERS, st.none() | NUMBERS, COUNTS)
TICKS = st.builds(
    Tick,
    start=COUNTS,
    n=COUNTS,
    segment=st.text(),
    scores=st.dictionaries(NAMES, st.tuples(COUNTS, COUNTS), max_size=3),
    embarrassment=st.dictionaries(NAMES, WINDOWS, max_size=3),
    domains=st.dictionaries(st.integers(0, 99).map(str), COUNTS, max_size=3),
    novel=COUNTS,
    executed_flops=COUNTS,
    watching_flops=COUNTS,
    energy=ENERGY,
    seconds=NUMBERS,
)
CLASSES = st.lists(NAMES, max_size=3).map(tuple)
KINDS = ("fire", "wants_labels", "keep", "reject", "defer", "stop")
DECISIONS = st.builds(Decision, COUNTS, st.sampled_from(KINDS), st.text(), CLASSES) | st.builds(
    Decision, COUNTS, st.just("rollback"), st.text(), CLASSES, NAMES
)
UPDATES = st.builds(
    Update,
    **{
        "rung": st.sampled_from(["norm", "head", "tail", "deep", "full"]),
        "classes": CLASSES,
        "energy": ENERGY,
        **{name: st.booleans() for name in ("kept", "exact")},
        **dict.fromkeys(("network_before", "network_after"), NAMES),
        **dict.fromkeys(("seconds", "predicted_seconds", "predicted_energy_j"), NUMBERS),
        **dict.fromkeys(("frame", "domain", "frames", "labels", "steps", "held_out"), COUNTS),
        **dict.fromkeys(("executed_flops", "predicted_flops", "delta_bytes"), COUNTS),
        **dict.fromkeys(("held_out_before", "held_out_after"), st.none() | NUMBERS),
        **dict.fromkeys(("anchors_before", "anchors_after"), st.none() | NUMBERS),
        "predicted_gain": st.none() | st.floats(-10, 10),
    },
)
SESSIONS = st.builds(
    Session,
    frame=COUNTS,
    started_utc=st.text(),
    source=st.text(),
    source_sha256=st.text(),
    note=st.text(),
    meter=st.text(),
    energy_origin=st.sampled_from(["measured", "estimated"]),
    versions=st.dictionaries(NAMES, st.text(), max_size=3),
)
LEVEL = st.tuples(NUMBERS, NUMBERS, NUMBERS)
LEVELS = st.builds(
    Levels, COUNTS, NAMES, COUNTS, st.dictionaries(NAMES, LEVEL, max_size=3), LEVEL, LEVEL
)
BALANCES = st.builds(
    Balances,
    COUNTS,
    NUMBERS,
    st.none() | NUMBERS,
    st.booleans(),
    st.dictionaries(NAMES, st.tuples(NUMBERS, NUMBERS), max_size=3),
)


@given(TICKS, DECISIONS, UPDATES, SESSIONS, LEVELS, BALANCES)
def test_every_record_comes_back_from_its_row(
    some_tick: Tick,
    decision: Decision,
    some_update: Update,
    session: Session,
    levels: Levels,
    balances: Balances,
) -> None:
    with sqlite3.connect(":memory:") as database:
        database.row_factory = sqlite3.Row

        def through_the_database(record: Any) -> sqlite3.Row:
            row = to_row(record)
            columns = ", ".join(f":{name} AS {name}" for name in row)
            found: sqlite3.Row = database.execute(f"SELECT {columns}", row).fetchone()
            return found

        assert tick_from_row(through_the_database(some_tick)) == some_tick
        assert decision_from_row(through_the_database(decision)) == decision
        assert update_from_row(through_the_database(some_update)) == some_update
        assert session_from_row(through_the_database(session)) == session
        assert levels_from_row(through_the_database(levels)) == levels
        assert balances_from_row(through_the_database(balances)) == balances
    database.close()


@pytest.mark.parametrize(("kind", "network"), [("rollback", None), ("keep", "aa")])
def test_a_rollback_says_where_to_and_nothing_else_does(kind: Any, network: str | None) -> None:
    with pytest.raises(ValueError, match="network"):
        Decision(1, kind, "why", (), network)


def test_shares_of_a_tick_add_up_by_flops() -> None:
    assert ledgers.tick(executed_flops=30, watching_flops=10).inference_share == 0.75
    assert ledgers.tick(executed_flops=0, watching_flops=0).inference_share == 1
