"""Never overdrawn: not by clocks, wrong predictions, heat or an empty battery."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.budget import Budget
from sel_edge.core.cost import NOTHING, Cost
from sel_edge.core.solar import DAY_S, ClearSkyDay, ConstantWatts
from sel_edge.core.wallet import Wallet
from tests.core.wallets import EVERYTHING, NOON_S, cool, restart


def test_without_limits_everything_is_affordable() -> None:
    wallet = Wallet(Budget(), 0)
    enormous = Cost(10**20, 1e20, 1e9, 10**20, 10**20)
    with wallet.reserve(enormous, 0) as reservation:
        assert reservation.may_go_on(enormous, 0) is None
        assert reservation.charge(enormous * 2, 0) is None
    assert wallet.overruns == 0
    assert wallet.balances() == {}
    assert wallet.draw(5, 0) == 0


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (Cost(flops=1_001), "flops_per_day: 1 kFLOP needed, 1 kFLOP free, 1 FLOP short. It never"),
        (Cost(energy_j=150.0, seconds=1e4), "energy_j_per_day: 150 J needed, 100 J free, 50 J"),
        (Cost(energy_j=61.0), "watts_mean: 61 J needed, 60 J free, 1 J short. It never"),
        (Cost(peak_bytes=1_500), "ram_bytes: 1.5 kB needed, 1 kB free, 500 B short. It never"),
        (Cost(flash_writes=11), "flash_writes_per_day: 11 flash writes needed, 10 flash writes"),
    ],
)
def test_a_shortfall_says_which_limit_is_short_by_how_much(cost: Cost, words: str) -> None:
    shortfall = cool(EVERYTHING).can_afford(cost, 0)
    assert str(shortfall).startswith(words)
    assert shortfall.ready_s is None


def test_what_cannot_be_afforded_cannot_be_reserved() -> None:
    wallet = cool(EVERYTHING)
    with pytest.raises(ValueError, match="flops_per_day"):
        wallet.reserve(Cost(flops=1_001), 0)
    assert wallet.balances()["flops_per_day"].free == 1_000


def test_what_is_reserved_cannot_be_reserved_again() -> None:
    wallet = cool(EVERYTHING)
    first = wallet.reserve(Cost(flops=600, energy_j=60), 0)
    assert wallet.can_afford(Cost(flops=401), 0).free == 400
    assert wallet.can_afford(Cost(energy_j=41, seconds=1e4), 0).limit == "energy_j_per_day"
    first.settle()
    assert wallet.can_afford(Cost(flops=401), 0) is None


def test_what_was_spent_comes_back_a_day_later_and_the_shortfall_says_when() -> None:
    wallet = cool(Budget(flops_per_day=1_000), NOON_S)
    with wallet.reserve(Cost(flops=900), NOON_S) as reservation:
        reservation.charge(Cost(flops=900), NOON_S)
    shortfall = wallet.can_afford(Cost(flops=500), NOON_S + 3_600)
    assert (shortfall.needed, shortfall.free) == (500, 100)
    assert "Refilled in 23 h" in str(shortfall)
    assert DAY_S <= shortfall.ready_s - NOON_S <= DAY_S + 400
    assert wallet.can_afford(Cost(flops=500), math.nextafter(shortfall.ready_s, 0)) is not None
    assert wallet.can_afford(Cost(flops=500), shortfall.ready_s) is None


def test_the_sun_fills_the_battery_and_what_does_not_fit_is_wasted() -> None:
    sun = ClearSkyDay(peak_w=1, sunrise_h=6, sunset_h=18)
    midnight = NOON_S - DAY_S / 2
    wallet = cool(Budget(capacity_j=10_000, initial_j=0, refill=sun), midnight)
    shortfall = wallet.can_afford(Cost(energy_j=100), midnight)
    assert midnight + 6 * 3_600 < shortfall.ready_s < midnight + 7 * 3_600
    assert wallet.can_afford(Cost(energy_j=100), shortfall.ready_s) is None
    wallet.advance(midnight + DAY_S)
    books = wallet.balances()["battery"]
    assert books.left == books.free == 10_000
    assert books.refilled == pytest.approx(sun.energy_j(0, DAY_S))
    assert books.wasted == pytest.approx(books.refilled - 10_000)
    never = wallet.can_afford(Cost(energy_j=10_001), midnight + DAY_S)
    assert never.ready_s is None


def test_a_battery_without_refill_says_so() -> None:
    wallet = cool(Budget(capacity_j=10, initial_j=5))
    assert "Nothing that is known refills it." in str(wallet.can_afford(Cost(energy_j=6), 0))


def test_the_longest_lasting_shortfall_is_named() -> None:
    wallet = cool(Budget(flops_per_day=10, capacity_j=10, initial_j=0, refill=ConstantWatts(1)))
    assert wallet.can_afford(Cost(flops=5, energy_j=5), 0).limit == "battery"
    assert wallet.can_afford(Cost(flops=11, energy_j=5), 0).limit == "flops_per_day"


def test_mean_watts_pace_an_adaptation_without_ending_it() -> None:
    wallet = cool(Budget(watts_mean=1.0, watts_window_s=60))
    step = Cost(energy_j=20, seconds=20)
    reservation = wallet.reserve(step * 10, 0)  # 200 J at 1 W, though 60 s may hold 60 J
    for _ in range(3):  # faster than it said
        assert reservation.may_go_on(step, 0) is None
        assert reservation.charge(step, 0) is None
    pause = reservation.may_go_on(step, 1)
    assert pause.limit == "watts_mean"
    assert 60 <= pause.ready_s <= 61
    assert reservation.may_go_on(step, pause.ready_s) is None


def test_the_hard_stop_comes_before_the_step_that_would_overdraw() -> None:
    """Predicted for five steps, it turns out to need more."""
    wallet = cool(EVERYTHING)
    step = Cost(flops=10, energy_j=0.1, seconds=1)
    reservation = wallet.reserve(step * 5, 0)
    taken = 0
    while reservation.may_go_on(step, taken) is None:
        assert reservation.charge(step, taken) is None
        taken += 1
    assert taken == 5
    assert "left of the reservation" in str(reservation.may_go_on(step, taken))
    assert wallet.overruns == 0


@given(st.floats(1e-9, 1e3), st.integers(1, 200))
def test_steps_that_add_up_to_a_reservation_fit_into_it(energy_j: float, steps: int) -> None:
    step = Cost(energy_j=energy_j)
    wallet = Wallet(Budget(energy_j_per_day=(step * steps).energy_j), 0)
    reservation = wallet.reserve(step * steps, 0)
    for _ in range(steps):
        assert reservation.may_go_on(step, 0) is None
        assert reservation.charge(step, 0) is None


def test_a_sum_that_was_rounded_down_still_covers_its_steps() -> None:
    step = Cost(energy_j=0.1)
    total = sum([step] * 8, start=NOTHING)
    assert total.energy_j < 0.8
    wallet = Wallet(Budget(energy_j_per_day=total.energy_j), 0)
    reservation = wallet.reserve(total, 0)
    for _ in range(8):
        assert reservation.may_go_on(step, 0) is None
        reservation.charge(step, 0)


def test_settling_returns_what_was_not_used() -> None:
    wallet = cool(EVERYTHING)
    reservation = wallet.reserve(Cost(flops=100, energy_j=10, peak_bytes=9), 0)
    assert wallet.balances()["flops_per_day"].free == 900
    reservation.charge(Cost(flops=30, energy_j=2), 0)
    assert wallet.balances()["flops_per_day"].left == 970
    assert reservation.spent == Cost(flops=30, energy_j=2)
    assert reservation.settle() == Cost(flops=70, energy_j=8, peak_bytes=9)
    assert wallet.balances()["flops_per_day"].free == 970
    assert reservation.settle() == NOTHING
    for call in (reservation.may_go_on, reservation.charge):
        with pytest.raises(ValueError, match="settled"):
            call(Cost(flops=1), 0)
    assert wallet.balances()["flops_per_day"].free == 970


def test_an_error_inside_settles_too() -> None:
    wallet = cool(EVERYTHING)
    with pytest.raises(KeyError), wallet.reserve(Cost(flops=100), 0):
        raise KeyError
    assert wallet.balances()["flops_per_day"].free == 1_000


def test_a_step_that_measured_more_than_its_reservation_is_taken_from_the_next_refill() -> None:
    wallet = cool(Budget(capacity_j=100, initial_j=50, refill=ConstantWatts(1)))
    reservation = wallet.reserve(Cost(energy_j=40), 0)
    exceeded = reservation.charge(Cost(energy_j=70), 0)
    assert (exceeded.limit, exceeded.needed, exceeded.free) == ("battery", 70, 40)
    assert wallet.overruns == 1
    reservation.settle()
    books = wallet.balances()["battery"]
    assert (books.left, books.free, books.owed) == (0, 0, 20)
    assert wallet.can_afford(Cost(energy_j=5), 0).ready_s == pytest.approx(25, abs=0.1)
    wallet = restart(wallet, 24.0)
    assert wallet.overruns == 1
    assert wallet.balances()["battery"].free == 4


def test_another_reservation_stops_when_something_took_its_share() -> None:
    wallet = cool(Budget(capacity_j=100))
    kept, greedy = (wallet.reserve(Cost(energy_j=50), 0) for _ in range(2))
    greedy.charge(Cost(energy_j=70), 0)
    assert "took what was reserved" in str(kept.may_go_on(Cost(energy_j=1), 0))
    assert kept.may_go_on(Cost(flops=1), 0) is None


def test_inference_empties_the_battery_but_not_below_nothing() -> None:
    wallet = cool(Budget(capacity_j=100, energy_j_per_day=5))
    assert wallet.draw(70, 0) == 0
    assert wallet.draw(50, 0) == 20
    books = wallet.balances()
    assert (books["battery"].left, books["battery"].owed) == (0, 0)
    assert books["energy_j_per_day"].free == 5


class TestHeat:
    """The thermal cap, its hysteresis and its sensors."""

    budget = Budget(celsius_max=70, celsius_hysteresis=10)

    @pytest.mark.parametrize(
        ("readings", "may_learn"),
        [
            ([(69.9, False)], True),
            ([(70.0, False)], False),
            ([(70.0, False), (61.0, False)], False),
            ([(70.0, False), (60.0, False)], True),
            ([(50.0, True)], False),
            ([(50.0, True), (65.0, False)], False),
            ([(50.0, True), (50.0, False)], True),
            ([(None, False)], False),
            ([(math.nan, False)], False),
            ([(75.0, False), (None, False), (65.0, False)], False),
        ],
    )
    def test_it_is_held_until_it_is_cool(self, readings: Any, may_learn: bool) -> None:
        wallet = Wallet(self.budget, 0)
        for celsius, throttled in readings:
            wallet.observe(celsius, throttled)
        shortfall = wallet.can_afford(Cost(flops=1), 0)
        assert (shortfall is None) == may_learn
        assert may_learn or str(shortfall).startswith("celsius_max: The temperature is")

    def test_a_limit_that_was_never_checked_is_not_met(self) -> None:
        assert "unknown" in str(Wallet(self.budget, 0).can_afford(NOTHING, 0))

    def test_throttling_holds_without_a_limit(self) -> None:
        wallet = Wallet(Budget(), 0)
        wallet.observe(None, True)
        assert "firmware" in str(wallet.can_afford(NOTHING, 0))
        wallet.observe(None, False)
        assert wallet.can_afford(NOTHING, 0) is None

    def test_it_stops_a_running_adaptation_and_outlives_a_restart(self) -> None:
        wallet = cool(self.budget)
        reservation = wallet.reserve(Cost(flops=1), 0)
        wallet.observe(71, False)
        assert reservation.may_go_on(Cost(flops=1), 0).limit == "celsius_max"
        wallet = restart(wallet, 0)
        wallet.observe(65, False)
        assert wallet.can_afford(Cost(flops=1), 0) is not None


def test_a_clock_that_jumps_back_and_forth_refills_nothing() -> None:
    wallet = cool(Budget(flops_per_day=10, capacity_j=9e3, initial_j=0, refill=ConstantWatts(1)))
    wallet.advance(1_000)
    for now_s in (0, 1_000, -1e9, 500, 1_000):
        wallet.advance(now_s)
    assert wallet.balances()["battery"].left == 1_000
    wallet.advance(1_001)
    assert wallet.balances()["battery"].left == 1_001


def test_what_is_spent_while_the_clock_is_behind_comes_back_a_day_after_it_has_caught_up() -> None:
    wallet = cool(Budget(flops_per_day=10), 10 * DAY_S)
    reservation = wallet.reserve(Cost(flops=10), 0)
    reservation.charge(Cost(flops=10), 0)
    shortfall = wallet.can_afford(Cost(flops=1), 0)
    assert "The clock was set back by 10 d" in str(shortfall)
    wallet = restart(wallet, 5)
    assert wallet.can_afford(Cost(flops=1), 12 * DAY_S) is not None
    assert wallet.can_afford(Cost(flops=1), 13 * DAY_S + 400) is None


@pytest.mark.parametrize("now_s", [math.nan, math.inf, -math.inf, 1e300])
def test_impossible_times_change_nothing(now_s: float) -> None:
    wallet = cool(EVERYTHING, NOON_S)
    before = wallet.to_state()
    for call in (wallet.advance, lambda time_s: wallet.can_afford(NOTHING, time_s)):
        with pytest.raises(ValueError, match="time"):
            call(now_s)
    assert wallet.to_state() == before
