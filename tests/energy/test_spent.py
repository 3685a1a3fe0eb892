"""Sums of a ledger: every joule once, and measured and estimated ones apart."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import Ledger, Tick, Update
from sel_edge.core.measurement import Energy
from sel_edge.energy.spent import INFERENCE, WATCHING, adapting, spent
from tests.core import ledgers

energies = st.builds(Energy, st.floats(0, 1e6), st.sampled_from(["measured", "estimated"]))
ticks = st.builds(
    lambda energy, flops, watching: ledgers.tick(
        energy=energy, seconds=0.5, executed_flops=flops, watching_flops=watching
    ),
    energies,
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)
updates = st.builds(
    lambda energy, rung, kept: ledgers.update(energy=energy, rung=rung, kept=kept, seconds=2.0),
    energies,
    st.sampled_from(["norm", "head", "full"]),
    st.booleans(),
)


def ledger_of(ticks: list[Tick], updates: list[Update]) -> Ledger:
    return Ledger(meta={}, ticks=ticks, decisions=[], updates=updates, evaluations=[])


@given(st.lists(ticks), st.lists(updates))
def test_every_joule_second_and_operation_is_counted_once(
    some_ticks: list[Tick], some_updates: list[Update]
) -> None:
    sums = spent(ledger_of(some_ticks, some_updates))
    rows = [*some_ticks, *some_updates]
    for origin in ("measured", "estimated"):
        own = [row.energy.joules for row in rows if row.energy.origin == origin]
        assert sum(s.joules for s in sums if s.origin == origin) == pytest.approx(sum(own))
    assert sum(s.seconds for s in sums) == pytest.approx(sum(row.seconds for row in rows))
    watching = sum(tick.watching_flops for tick in some_ticks)
    assert sum(s.executed_flops for s in sums) == watching + sum(r.executed_flops for r in rows)
    assert len({(s.kind, s.origin) for s in sums}) == len(sums)


@given(st.lists(updates, min_size=1))
def test_adapting_is_told_by_rung_and_by_what_came_of_it(some_updates: list[Update]) -> None:
    counts: Counter[str] = Counter()
    for sum_ in spent(ledger_of([], some_updates)):
        counts[sum_.kind] += sum_.count
        assert not sum_.is_divided
    assert counts == Counter(adapting(update.rung, update.kept) for update in some_updates)


def test_watching_is_told_apart_from_inference_by_flops() -> None:
    measured = Energy(4.0, "measured")
    tick = ledgers.tick(energy=measured, seconds=2.0, executed_flops=300, watching_flops=100)
    inference, watching = spent(ledger_of([tick, tick], []))
    assert (inference.kind, inference.joules, inference.seconds) == (INFERENCE, 6.0, 3.0)
    assert (watching.kind, watching.joules, watching.seconds) == (WATCHING, 2.0, 1.0)
    assert inference.is_divided
    assert watching.is_divided
    assert inference.count == watching.count == 2


def test_a_tick_that_watches_nothing_is_not_divided() -> None:
    (sum_,) = spent(ledger_of([ledgers.tick()], []))
    assert (sum_.kind, sum_.is_divided) == (INFERENCE, False)


def test_kinds_come_in_one_order_and_what_was_measured_first() -> None:
    both = [Energy(1.0, "estimated"), Energy(1.0, "measured")]
    some_ticks = [ledgers.tick(energy=energy, watching_flops=1) for energy in both]
    some_updates = [
        ledgers.update(energy=energy, rung=rung) for rung in ("head", "norm") for energy in both
    ]
    kinds = [INFERENCE, WATCHING, adapting("head", True), adapting("norm", True)]
    sums = spent(ledger_of(some_ticks, some_updates))
    expected = [(kind, origin) for kind in kinds for origin in ("measured", "estimated")]
    assert [(sum_.kind, sum_.origin) for sum_ in sums] == expected
