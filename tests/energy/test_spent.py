"""Sums of a ledger: every joule once, and measured and estimated ones apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import Ledger, Tick, Update
from sel_edge.core.measurement import Energy
from sel_edge.energy.spent import KEPT, KINDS, REJECTED, WATCHING, spent

energies = st.builds(Energy, st.floats(0, 1e6), st.sampled_from(["measured", "estimated"]))


def tick(energy: Energy) -> Tick:
    return Tick(0, 16, "", {}, {}, 1000, energy, 0.5)


def update(energy: Energy, kept: bool) -> Update:
    return Update(
        frame=16,
        classes=("cat",),
        kept=kept,
        labels=4,
        held_out=2,
        held_out_before=1.0,
        held_out_after=0.5,
        anchors_before=1.0,
        anchors_after=1.0,
        executed_flops=2000,
        energy=energy,
        seconds=2.0,
        head_before="a",
        head_after="b",
        delta_bytes=8,
    )


@given(st.lists(energies), st.lists(st.tuples(energies, st.booleans())))
def test_every_joule_is_counted_once_under_its_kind_and_origin(
    ticks: list[Energy], updates: list[tuple[Energy, bool]]
) -> None:
    ledger = Ledger(
        meta={},
        ticks=[tick(energy) for energy in ticks],
        decisions=[],
        updates=[update(energy, kept) for energy, kept in updates],
        evaluations=[],
    )
    sums = spent(ledger)
    keys = [(sum_.kind, sum_.origin) for sum_ in sums]
    assert keys == sorted(set(keys), key=lambda key: (KINDS.index(key[0]), key[1] != "measured"))
    entries = [(WATCHING, energy) for energy in ticks]
    entries += [(KEPT if kept else REJECTED, energy) for energy, kept in updates]
    for sum_ in sums:
        own = [e for kind, e in entries if (kind, e.origin) == (sum_.kind, sum_.origin)]
        assert sum_.count == len(own) > 0
        assert sum_.joules == pytest.approx(sum(energy.joules for energy in own))
        assert sum_.seconds == len(own) * (0.5 if sum_.kind == WATCHING else 2.0)
    assert sum(sum_.count for sum_ in sums) == len(entries)
