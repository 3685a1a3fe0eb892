"""Wallets in random lives: calls in any order, and thousands of simulated devices."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from sel_edge.core.cost import Cost
from sel_edge.core.solar import DAY_S, NANOJOULES
from sel_edge.core.wallet import Reservation
from tests.core.wallets import EVERYTHING, NOON_S, cool, restart
from tools.wallet_sim import ACTIVITY, FAULTS, simulate_wallets

COSTS = st.builds(
    Cost,
    st.integers(0, 600),
    st.floats(0, 70),
    st.floats(0, 100),
    st.integers(0, 1_100),
    st.integers(0, 4),
)
SPANS = st.one_of(st.floats(0, 100), st.floats(0, DAY_S), st.floats(-2 * DAY_S, 0))
LIMITS = {
    "flops_per_day": ("flops", 1_000, DAY_S),
    "energy_j_per_day": ("energy_j", 100.0, DAY_S),
    "watts_mean": ("energy_j", 60.0, 60.0),
    "flash_writes_per_day": ("flash_writes", 10, DAY_S),
}


class Wallets(RuleBasedStateMachine):
    """Calls in any order, beside books of the simplest kind: a list of what was spent, and when.

    The caller asks before every step and the step takes at most what it asked for; everything else
    is free: times, costs, several reservations at once, restarts at any point.
    """

    reservations: Bundle[Reservation] = Bundle("reservations")

    @initialize()
    def open(self) -> None:
        self.now_s = self.latest_s = NOON_S
        self.wallet = cool(EVERYTHING, NOON_S)
        self.spending: list[tuple[float, Cost]] = []
        self.generation = 0

    @rule(span_s=SPANS)
    def time_passes_or_jumps(self, span_s: float) -> None:
        self.now_s += span_s
        self.latest_s = max(self.latest_s, self.now_s)
        self.wallet.advance(self.now_s)

    @rule(celsius=st.none() | st.floats(0, 100), throttled=st.booleans())
    def temperature_changes(self, celsius: float | None, throttled: bool) -> None:
        self.wallet.observe(celsius, throttled)

    @rule(energy_j=st.floats(0, 100))
    def inference_draws(self, energy_j: float) -> None:
        missing_j = self.wallet.draw(energy_j, self.now_s)
        assert 0 <= missing_j <= energy_j

    @rule(target=reservations, cost=COSTS)
    def reserve(self, cost: Cost) -> Any:
        before = self.wallet.balances()
        if self.wallet.can_afford(cost, self.now_s):
            return multiple()
        reservation = self.wallet.reserve(cost, self.now_s)
        books = self.wallet.balances()["flops_per_day"]
        assert books.reserved == before["flops_per_day"].reserved + cost.flops
        return (self.generation, reservation)

    @rule(held=reservations, worst=COSTS, share=st.floats(0, 1), is_modest=st.booleans())
    def step(
        self, held: tuple[int, Reservation], worst: Cost, share: float, is_modest: bool
    ) -> None:
        generation, reservation = held
        if generation != self.generation:
            return
        worst = worst * 0.05 if is_modest else worst
        if reservation.may_go_on(worst, self.now_s):
            return
        assert worst.peak_bytes <= 1_000
        assert not self.wallet.is_hot
        flops, writes = (math.floor(n * share) for n in (worst.flops, worst.flash_writes))
        actual = Cost(flops, worst.energy_j * share, worst.seconds, flash_writes=writes)
        assert reservation.charge(actual, self.now_s) is None
        self.spending.append((self.latest_s, actual))

    @rule(held=consumes(reservations))
    def settle(self, held: tuple[int, Reservation]) -> None:
        if held[0] == self.generation:
            unspent = held[1].settle()
            assert unspent == held[1].cost.rest(held[1].spent)

    @rule()
    def process_restarts(self) -> None:
        self.wallet = restart(self.wallet, self.now_s)
        self.generation += 1
        assert all(books.reserved == 0 for books in self.wallet.balances().values())

    @precondition(lambda self: self.spending)
    @rule()
    def a_day_passes_without_spending(self) -> None:
        """Then every daily limit is whole again, but for what is reserved."""
        self.now_s = self.latest_s
        self.wallet.advance(self.now_s)
        self.time_passes_or_jumps(DAY_S * 1.01)
        for name in LIMITS:
            books = self.wallet.balances()[name]
            assert books.left == books.size

    @invariant()
    def limits_hold(self) -> None:
        for field, size, window_s in LIMITS.values():
            recent = [
                getattr(cost, field)
                for time_s, cost in self.spending
                if time_s > self.latest_s - window_s
            ]
            assert sum(recent) <= size + len(recent) / NANOJOULES

    @invariant()
    def books_balance(self) -> None:
        for name, books in self.wallet.balances().items():
            assert 0 <= books.free <= books.left <= books.size
            assert books.owed == 0
            # Inference may take what was reserved, and watts are held up against each step.
            assert books.reserved <= books.left or name in ("battery", "watts_mean")
            assert min(books.reserved, books.wasted, books.refilled, books.spent) >= 0
            there = books.initial + books.refilled - books.wasted - books.spent
            assert there == pytest.approx(books.left, abs=1e-6)
        assert self.wallet.overruns == 0


TestWallets = Wallets.TestCase
TestWallets.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def check(result: dict[str, int]) -> None:
    assert {fault: result[fault] for fault in FAULTS} == dict.fromkeys(FAULTS, 0)
    idle = [activity for activity in ACTIVITY if result[activity] == 0]
    assert not idle, f"nothing was tried of {idle}"


def test_random_wallets_are_never_overdrawn() -> None:
    check(simulate_wallets(300, seed=1))


@pytest.mark.proof
def test_ten_thousand_random_wallets_are_never_overdrawn() -> None:
    check(simulate_wallets(10_000, seed=0))
