"""Random wallets in random lives, audited by books of their own.

    python -m tools.wallet_sim [--wallets 10000] [--seed 0]

Every life draws a budget, a refill curve and a few dozen events: time passes, the clock is set back
and corrected, inference draws on the battery, the board heats up, adaptations are predicted too
high or too low and stopped, and the process dies in the middle. In one life of ten, steps also
measure more than the worst case they declared. The auditor sees only what was really spent, in
real time, and counts every broken promise. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter, deque
from dataclasses import asdict, dataclass

import numpy as np

from sel_edge.core.budget import Budget
from sel_edge.core.cost import Cost
from sel_edge.core.rng import generator
from sel_edge.core.shortfall import Shortfall
from sel_edge.core.solar import (
    DAY_S,
    ClearSkyDay,
    ConstantWatts,
    DailyCurve,
    DutyCycle,
    RefillCurve,
)
from sel_edge.core.wallet import Reservation, Wallet

EVENTS = 40
FAULTS = (
    "overruns",  # more was spent than a limit allows
    "hard_stops_missed",  # a step was allowed whose worst case would have overdrawn
    "heat_ignored",  # something was allowed while it was too hot
    "negative_balances",
    "overfilled",  # more there than fits
    "books_off",  # initial + refilled - wasted - spent is not what is left
    "claims_too_much",  # the wallet believes in a fuller battery than there is
    "refills_late",  # not affordable at the time it was said to be
)
ACTIVITY = (
    *("adaptations", "refused", "steps", "stops", "waits", "settled", "crashes"),
    *("clock_set_back", "surprises", "empty_battery"),
)
_WITHIN = 1e-6
"""Joules that floating-point books may be off."""


def main() -> None:
    """Simulate, print one JSON line, and fail if a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wallets", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = simulate_wallets(options.wallets, options.seed)
    print(json.dumps(result))
    sys.exit(1 if any(result[fault] for fault in FAULTS) else 0)


def simulate_wallets(n: int, seed: int) -> dict[str, int]:
    """Live `n` random lives.

    Returns:
        `wallets`, `seed`, the counts of `FAULTS` (each should be 0; `overruns` is the one about
        spending) and of `ACTIVITY`.
    """
    counts: Counter[str] = Counter()
    for index in range(n):
        life = _Life(generator(seed, "wallet", index), counts)
        for _ in range(EVENTS):
            life.event()
    return {"wallets": n, "seed": seed, **{name: counts[name] for name in (*FAULTS, *ACTIVITY)}}


@dataclass
class _Limit:
    """What was really spent of one resource within its window."""

    field: str
    size: float
    window_s: float
    spending: deque[tuple[float, float]]
    total: float = 0.0
    excused: float = 0.0

    def add(self, time_s: float, cost: Cost) -> None:
        amount = getattr(cost, self.field)
        self.spending.append((time_s, amount))
        self.total += amount

    def room(self, time_s: float) -> float:
        while self.spending and self.spending[0][0] <= time_s - self.window_s:
            self.total -= self.spending.popleft()[1]
        return self.size + self.excused - self.total


class _Auditor:
    """Books of what really happened, kept without the wallet."""

    def __init__(self, budget: Budget, clock_s: float, counts: Counter[str]) -> None:
        limits = (
            ("flops", budget.flops_per_day, DAY_S),
            ("energy_j", budget.energy_j_per_day, DAY_S),
            ("flash_writes", budget.flash_writes_per_day, DAY_S),
            ("energy_j", budget.watts_mean, budget.watts_window_s),
        )
        self.limits = [
            _Limit(field, size * (window_s if window_s < DAY_S else 1), window_s, deque())
            for field, size, window_s in limits
            if size is not None
        ]
        self.budget = budget
        self.counts = counts
        self.excused_j = 0.0
        self._level_j = budget.capacity_j or 0.0 if budget.initial_j is None else budget.initial_j
        self._clock_s = clock_s

    def level_j(self, clock_s: float) -> float:
        """Joules in the battery; an instant of the device's clock counts once."""
        if self.budget.refill and self.budget.capacity_j and clock_s > self._clock_s:
            arrived = self.budget.refill.energy_j(self._clock_s, clock_s)
            self._level_j = min(self.budget.capacity_j, self._level_j + arrived)
        self._clock_s = max(self._clock_s, clock_s)
        return self._level_j

    def allowed(self, worst: Cost, true_s: float, clock_s: float) -> None:
        """A step was allowed: its worst case must fit."""
        fits = all(
            getattr(worst, limit.field) <= limit.room(true_s) + _WITHIN for limit in self.limits
        )
        if self.budget.capacity_j is not None:
            level_j = self.level_j(clock_s) + self.excused_j
            fits = fits and worst.energy_j <= level_j + _WITHIN
        self.counts["hard_stops_missed"] += not fits

    def spent(self, actual: Cost, worst: Cost, true_s: float, clock_s: float) -> None:
        """A step was taken. What it took beyond its declared worst case is excused."""
        excess = actual.rest(worst)
        for limit in self.limits:
            limit.excused += getattr(excess, limit.field)
            limit.add(true_s, actual)
            self.counts["overruns"] += limit.room(true_s) < -_WITHIN
        if self.budget.capacity_j is not None:
            self.excused_j += excess.energy_j
            self._level_j = self.level_j(clock_s) - actual.energy_j
            self.counts["overruns"] += self._level_j + self.excused_j < -_WITHIN

    def drawn(self, energy_j: float, clock_s: float) -> None:
        """The device itself used joules; an empty battery gives none."""
        self._level_j = max(min(0.0, self._level_j), self.level_j(clock_s) - energy_j)

    def inspect(self, wallet: Wallet, clock_s: float) -> None:
        """The wallet's own books must be in order and not rosier than the truth."""
        wallet.advance(clock_s)
        for name, books in wallet.balances().items():
            off = books.initial + books.refilled - books.wasted - books.spent
            off -= books.left - books.owed
            scale = max(books.initial, books.refilled, books.spent, 1.0)
            self.counts["books_off"] += abs(off) > 1e-9 * scale
            self.counts["negative_balances"] += min(asdict(books).values()) < 0
            self.counts["overfilled"] += books.left > books.size
            if name == "battery":
                level_j = self.level_j(clock_s)
                self.counts["claims_too_much"] += books.left > max(0.0, level_j) + _WITHIN


class _Life:
    """One device: its budget, its clock, its wallet."""

    def __init__(self, rng: np.random.Generator, counts: Counter[str]) -> None:
        self.rng, self.counts = rng, counts
        self.budget = _random_budget(rng)
        self.true_s = float(rng.uniform(0, 2e9))
        self.behind_s = self.behind_before_s = 0.0
        self.is_hot = False
        self.surprises = bool(rng.random() < 0.1)
        self.wallet = Wallet(self.budget, self.clock_s)
        self.wallet.observe(20.0, False)
        self.auditor = _Auditor(self.budget, self.clock_s, counts)
        self.saved = self._save()

    @property
    def clock_s(self) -> float:
        """What the device takes for the time; never ahead of the truth."""
        return self.true_s - self.behind_s

    def event(self) -> None:
        """One thing happens; then the books are inspected."""
        happenings = (self._wait, self._draw, self._set_clock, self._heat, self._adapt, self._crash)
        chances = (0.25, 0.15, 0.05, 0.1, 0.4, 0.05)
        happenings[int(self.rng.choice(len(happenings), p=chances))]()
        self.auditor.inspect(self.wallet, self.clock_s)
        self.saved = self._save()

    def _wait(self) -> None:
        self.true_s += float(self.rng.exponential(10.0 ** self.rng.uniform(0, 5)))

    def _draw(self) -> None:
        self._wait()
        energy_j = float(self.rng.exponential(0.1 * (self.budget.capacity_j or 1.0)))
        self.auditor.drawn(energy_j, self.clock_s)
        self.counts["empty_battery"] += self.wallet.draw(energy_j, self.clock_s) > 0

    def _set_clock(self) -> None:
        """Set the clock back, or forward again to where it was as long as it has not caught up.

        Nobody can tell a clock that is put forward later from time that passes.
        """
        latest_s = self.wallet.to_state()["now_s"]
        if self.clock_s < latest_s:
            self.behind_s = self.behind_before_s
        else:
            self.counts["clock_set_back"] += 1
            self.behind_before_s = self.behind_s
            self.behind_s += float(self.rng.choice([self.rng.exponential(3_600), 3 * DAY_S]))

    def _heat(self) -> None:
        celsius, throttled = float(self.rng.uniform(30, 90)), bool(self.rng.random() < 0.1)
        self.wallet.observe(celsius, throttled)
        limit = self.budget.celsius_max
        if throttled or (limit is not None and celsius >= limit):
            self.is_hot = True
        elif limit is None or celsius <= limit - self.budget.celsius_hysteresis:
            self.is_hot = False

    def _crash(self) -> None:
        self.counts["crashes"] += 1
        self.true_s += float(self.rng.exponential(600))
        self.wallet = Wallet.from_state(self.budget, json.loads(self.saved), self.clock_s)
        self.wallet.observe(20.0, False)
        self.is_hot = False

    def _adapt(self) -> None:
        step, steps = self._random_step(), int(self.rng.integers(1, 30))
        predicted = step * steps * float(self.rng.uniform(0.3, 1.5))
        self.counts["adaptations"] += 1
        shortfall = self.wallet.can_afford(predicted, self.clock_s)
        if shortfall and shortfall.ready_s is not None and self.rng.random() < 0.5:
            shortfall = self._wait_for(shortfall, predicted)
        if shortfall:
            self.counts["refused"] += 1
            return
        self.counts["heat_ignored"] += self.is_hot
        reservation = self.wallet.reserve(predicted, self.clock_s)
        self.saved = self._save()
        for _ in range(steps):
            if self.rng.random() < 0.01:
                self._crash()
                return
            if not self._step(reservation, step):
                break
        reservation.settle()
        self.counts["settled"] += 1

    def _step(self, reservation: Reservation, worst: Cost) -> bool:
        """Take a step if it is allowed; False when the adaptation has to end."""
        if self.rng.random() < 0.05:
            self._heat()
        objection = reservation.may_go_on(worst, self.clock_s)
        if objection and objection.limit == "watts_mean" and objection.ready_s is not None:
            self.counts["waits"] += 1
            self._wait_until(objection.ready_s)
            objection = reservation.may_go_on(worst, self.clock_s)
            self.counts["refills_late"] += objection is not None and objection.limit == "watts_mean"
        if objection:
            self.counts["stops"] += 1
            return False
        self.counts["heat_ignored"] += self.is_hot
        self.auditor.allowed(worst, self.true_s, self.clock_s)
        is_surprise = self.surprises and self.rng.random() < 0.1
        actual = worst * float(self.rng.uniform(1, 3) if is_surprise else self.rng.uniform(0, 1))
        actual = actual if is_surprise else _at_most(actual, worst)
        self.true_s += actual.seconds * float(self.rng.uniform(0, 1))
        self.auditor.spent(actual, worst, self.true_s, self.clock_s)
        self.counts["steps"] += 1
        exceeded = reservation.charge(actual, self.clock_s)
        self.counts["surprises"] += exceeded is not None
        return exceeded is None

    def _wait_for(self, shortfall: Shortfall, cost: Cost) -> Shortfall | None:
        """Come back when the wallet said to; whatever was short then must not be short now."""
        self._wait_until(shortfall.ready_s or 0.0)
        again = self.wallet.can_afford(cost, self.clock_s)
        self.counts["refills_late"] += again is not None
        return again

    def _wait_until(self, ready_s: float) -> None:
        """Let time pass, first until a clock that was set back has caught up."""
        for clock_s in (self.wallet.to_state()["now_s"], ready_s):
            self.true_s = max(self.true_s, clock_s + self.behind_s)
            while self.clock_s < clock_s:  # the sum was rounded down
                self.true_s = math.nextafter(self.true_s, math.inf)
            self.wallet.advance(self.clock_s)

    def _random_step(self) -> Cost:
        """A step of a size that makes some adaptations fit and others not."""
        energies = [self.budget.energy_j_per_day, self.budget.capacity_j]
        if self.budget.watts_mean is not None:
            energies.append(self.budget.watts_mean * self.budget.watts_window_s)
        smallest_j = min((energy for energy in energies if energy is not None), default=100.0)
        share = 10.0 ** self.rng.uniform(-3, -0.5)
        return Cost(
            flops=math.ceil((self.budget.flops_per_day or 10**9) * share),
            energy_j=smallest_j * 10.0 ** self.rng.uniform(-3, -0.5),
            seconds=float(self.rng.exponential(5.0)),
            peak_bytes=int(self.rng.integers(1, 2**20)),
            flash_writes=int(self.rng.integers(0, 3)),
        )

    def _save(self) -> str:
        return json.dumps(self.wallet.to_state())


def _at_most(cost: Cost, most: Cost) -> Cost:
    """Rounding up must not lift a step above its worst case."""
    pairs = zip(asdict(cost).values(), asdict(most).values(), strict=True)
    return Cost(*(min(value, limit) for value, limit in pairs))


def _random_budget(rng: np.random.Generator) -> Budget:
    def maybe(value: float) -> float | None:
        return value if rng.random() < 0.6 else None

    capacity_j = maybe(10.0 ** rng.uniform(1, 5))
    flops, writes = maybe(10.0 ** rng.uniform(6, 13)), maybe(float(rng.integers(1, 100)))
    return Budget(
        flops_per_day=None if flops is None else int(flops),
        energy_j_per_day=maybe(10.0 ** rng.uniform(0, 4)),
        watts_mean=maybe(10.0 ** rng.uniform(-2, 1)),
        watts_window_s=float(10.0 ** rng.uniform(0, 3.5)),
        celsius_max=maybe(float(rng.uniform(60, 85))),
        ram_bytes=2**20,
        flash_writes_per_day=None if writes is None else int(writes),
        capacity_j=capacity_j,
        initial_j=None if capacity_j is None else maybe(capacity_j * rng.uniform(0, 1)),
        refill=None if capacity_j is None else _random_curve(rng),
    )


def _random_curve(rng: np.random.Generator) -> RefillCurve | None:
    watts, offset_h = 10.0 ** rng.uniform(-2, 1), float(rng.integers(-12, 13))
    hours = tuple(np.unique(rng.uniform(0, 24, 5)).tolist())
    curves: tuple[RefillCurve | None, ...] = (
        None,
        ConstantWatts(watts),
        DutyCycle(watts, float(rng.uniform(0, 60)), 60.0),
        ClearSkyDay(watts, 5.5, 20.25, offset_h),
        DailyCurve(hours, tuple(rng.uniform(0, watts, len(hours)).tolist()), offset_h),
    )
    return curves[int(rng.integers(len(curves)))]


if __name__ == "__main__":
    main()
