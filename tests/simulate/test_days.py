"""Virtual days: energy is conserved, nights cost, nothing is learned that cannot be paid for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.budget import Budget
from sel_edge.core.solar import DAY_S, HOUR_S, ClearSkyDay, ConstantWatts
from sel_edge.data.stream import FrameBatch, open_stream
from sel_edge.runtime.loop import Runtime
from sel_edge.simulate.board import START_S, WAKE_SHARE, Supply
from sel_edge.simulate.days import Schedule, live
from sel_edge.simulate.diary import Diary
from sel_edge.simulate.world import endless
from tests.simulate.gratings import (
    PLENTY,
    PROFILE,
    WH,
    Lived,
    live_through,
    make_board,
)

LEAN = Supply(4 * WH, 2 * WH, ClearSkyDay(1.4))
"""A battery that no night of a Pi Zero 2 W is short enough for."""


def limits(supply: Supply, **more: float) -> Budget:
    budget = Budget(capacity_j=supply.capacity_j, initial_j=supply.initial_j, refill=supply.sun)
    return replace(budget, **more)


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory, gratings: Bundle, world: str) -> Lived:
    return live_through(tmp_path_factory.mktemp("lean"), gratings, world, LEAN, days=3)


def test_time_is_that_of_the_frames(two_days: Lived) -> None:
    moments = two_days.diary.moments
    assert 2 * DAY_S <= moments[-1].time_s < 2 * DAY_S + 20 * DAY_S / 600 + 1
    for earlier, later in pairwise(moments):
        assert later.time_s == pytest.approx(earlier.time_s + later.seconds)
        assert later.seconds >= later.frames * DAY_S / 600 - 1e-6
    assert sum(moment.frames for moment in moments) == 1200


def test_nights_discharge_and_days_charge(two_days: Lived) -> None:
    for earlier, later in pairwise(two_days.diary.moments):
        hours = [moment.time_s % DAY_S / HOUR_S for moment in (earlier, later)]
        if later.time_s % DAY_S < later.seconds:
            continue  # across midnight
        if hours[1] < 6 or hours[0] > 18:
            assert later.charge_j < earlier.charge_j
            assert later.watts_in == 0
        if 9 < hours[0] < hours[1] < 15:
            assert later.charge_j > earlier.charge_j


@pytest.mark.parametrize("name", ["two_days", "lean"])
def test_the_charge_stays_between_nothing_and_full(
    name: str, request: pytest.FixtureRequest
) -> None:
    lived, supply = request.getfixturevalue(name), {"two_days": PLENTY, "lean": LEAN}[name]
    charges = [moment.charge_j for moment in lived.diary.moments]
    assert min(charges) >= 0
    assert max(charges) <= supply.capacity_j
    assert (min(charges) == 0) == (name == "lean")


def test_energy_is_conserved(two_days: Lived) -> None:
    moments, drawn = two_days.diary.moments, two_days.board.drawn
    arrived = sum(moment.watts_in * moment.seconds for moment in moments)
    assert max(moment.charge_j for moment in moments) < PLENTY.capacity_j  # none was wasted
    left = PLENTY.initial_j + arrived - drawn.total_j
    assert moments[-1].charge_j == pytest.approx(left, rel=1e-9)
    assert sum(m.watts_out * m.seconds for m in moments) == pytest.approx(drawn.total_j)
    ledger = sum(tick.energy.joules for tick in two_days.ledger.ticks)
    ledger += sum(update.energy.joules for update in two_days.ledger.updates)
    assert ledger == pytest.approx(drawn.total_j)


@pytest.mark.parametrize("name", ["two_days", "lean"])
def test_the_device_knows_what_its_battery_holds(name: str, request: pytest.FixtureRequest) -> None:
    lived: Lived = request.getfixturevalue(name)
    charges = {round(START_S + m.time_s, 3): m.charge_j for m in lived.diary.moments}
    assert len(lived.ledger.balances) >= 4
    for row in lived.ledger.balances:
        left, _ = row.balances["battery"]
        assert left == pytest.approx(charges[round(row.utc_s, 3)], abs=1e-6)


def test_it_learns_and_pays_for_it(two_days: Lived) -> None:
    updates = two_days.ledger.updates
    assert any(update.kept for update in updates)
    assert two_days.diary.updates == updates
    assert {update.energy.origin for update in updates} == {"estimated"}
    assert {tick.energy.origin for tick in two_days.ledger.ticks} == {"estimated"}
    for update in updates:
        assert 0 < update.seconds < 60
        assert update.energy.joules > PROFILE.idle_w * update.seconds
    took = sum(u.energy.joules - PROFILE.idle_w * u.seconds for u in updates)
    assert two_days.board.drawn.learning_j == pytest.approx(took, rel=1e-3)


def test_the_same_seed_gives_the_same_days(
    two_days: Lived, tmp_path: Path, gratings: Bundle, world: str
) -> None:
    again = live_through(tmp_path / "again", gratings, world)
    assert again.diary.csv() == two_days.diary.csv()
    other = live_through(tmp_path / "other", gratings, world, seed=1)
    assert other.diary.csv() != two_days.diary.csv()
    first_pass = slice(35)  # which is the stream as it was asked for
    assert other.diary.moments[first_pass] == two_days.diary.moments[first_pass]


def test_while_the_battery_is_empty_frames_are_missed(lean: Lived) -> None:
    moments = lean.diary.moments
    off = [moment for moment in moments if not moment.is_on]
    assert off
    assert sum(moment.is_on for moment in moments) > 10
    for moment in off:
        assert moment.watts_out == 0
        assert moment.decisions == moment.updates == ()
        assert moment.scored == 0
    for earlier, later in pairwise(moments):
        if earlier.is_on != later.is_on:
            share = earlier.charge_j / LEAN.capacity_j
            assert share == 0 if earlier.is_on else share >= WAKE_SHARE
    answered = sum(moment.frames for moment in moments if moment.is_on)
    assert sum(tick.n for tick in lean.ledger.ticks) == answered
    assert all(a is None for m, a in zip(moments, lean.diary.accuracy, strict=True) if not m.is_on)


def test_an_empty_wallet_puts_learning_off(tmp_path: Path, gratings: Bundle, world: str) -> None:
    poor = limits(PLENTY, energy_j_per_day=1e-3)
    lived = live_through(tmp_path, gratings, world, limits=poor)
    reasons = [d.reason for _, d in lived.diary.decisions() if d.kind == "defer"]
    assert reasons
    assert all("energy_j_per_day: " in reason for reason in reasons)
    assert lived.ledger.updates == []
    assert lived.board.drawn.learning_j == 0
    assert {d.kind for d in lived.ledger.decisions} <= {"defer", "wants_labels"}


def test_what_a_day_allows_is_never_exceeded(tmp_path: Path, gratings: Bundle, world: str) -> None:
    most_j = 0.15
    lived = live_through(
        tmp_path, gratings, world, limits=limits(PLENTY, energy_j_per_day=most_j), days=3
    )
    assert lived.ledger.updates
    spent = [(m.time_s, u.energy.joules) for m in lived.diary.moments for u in m.updates]
    for start_s, _ in spent:
        within = sum(j for at, j in spent if start_s <= at < start_s + DAY_S)
        assert within <= most_j


def test_nothing_is_learned_in_the_heat(tmp_path: Path, gratings: Bundle, world: str) -> None:
    cap = limits(PLENTY, celsius_max=75.0)
    lived = live_through(tmp_path, gratings, world, limits=cap, ambient_celsius=70.0)
    assert lived.ledger.updates == []
    assert any("celsius_max" in d.reason for _, d in lived.diary.decisions() if d.kind == "defer")


def test_without_energy_there_is_nothing_but_night(gratings: Bundle, world: str) -> None:
    def never() -> Runtime:
        raise AssertionError("nothing switches it on")

    board, diary = make_board(gratings, Supply(WH, 0.0, ConstantWatts(0.0))), Diary()
    for moment in live(Schedule(1, 600), board, never, endless(open_stream(world), 20, 0)):
        diary.add(moment)
    assert {moment.is_on for moment in diary.moments} == {False}
    assert board.drawn.total_j == 0


def test_closing_the_days_switches_the_device_off(
    tmp_path: Path, gratings: Bundle, world: str
) -> None:
    closed = []

    class Device:
        """Stands in for a runtime that somebody opens and closes."""

        def __enter__(self) -> Device:
            return self

        def __exit__(self, *_: object) -> None:
            closed.append(True)

        def process(self, batch: FrameBatch) -> None:
            raise KeyboardInterrupt

    board = make_board(gratings, PLENTY)
    frames: Iterator[FrameBatch] = endless(open_stream(world), 20, 0)
    days = live(Schedule(1, 600), board, Device, frames)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        next(days)
    assert closed == [True]
