"""Wallet: what may be spent now, what is promised, and when there will be more.

Time is given by the caller, as seconds since the Unix epoch, and never read here. An instant is
counted once: when the clock is set back, nothing refills until it has caught up, so no jump back
and forth makes anything out of nothing. A clock that is put forward cannot be told from time that
passes; a process therefore takes the wall clock once, when it starts and the clock is synchronized,
and adds what its monotonic clock says since.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, Self

from sel_edge.core.accounts import whole
from sel_edge.core.budget import Budget
from sel_edge.core.cost import NOTHING, Cost
from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.resources import (
    Balance,
    Resource,
    balance,
    booked,
    open_accounts,
    promised,
    scale_of,
)
from sel_edge.core.shortfall import Shortfall, duration
from sel_edge.core.solar import DAY_S, NANOJOULES

STATE_VERSION = 1
_LATEST_S = 1e11
_STATE_KEYS = {"version", "now_s", "overruns", "is_hot", "accounts"}


class Wallet:
    """What may be spent now of every resource that a budget limits.

    Args:
        budget: the limits; the wallet starts full, the battery with its initial charge.
        now_s: since when.

    Attributes:
        overruns: steps that measured more than was left of their reservation.
        is_hot: whether the thermal cap holds learning back.
    """

    def __init__(self, budget: Budget, now_s: float) -> None:
        self.budget = budget
        self.overruns = 0
        self.is_hot = False
        self._celsius: float | None = None
        self._now_s = _instant(now_s)
        self._given_s = self._now_s
        self._accounts = open_accounts(budget, self._now_s)

    def advance(self, now_s: float) -> None:
        """Refill everything up to now; nothing, if it was later already.

        Raises:
            ValueError: the time is not finite or beyond the year 5000.
        """
        self._given_s = _instant(now_s)
        self._now_s = max(self._now_s, self._given_s)
        for account in self._accounts.values():
            account.advance(self._now_s, is_behind=self._given_s < self._now_s)

    def observe(self, celsius: float | None, throttled: bool) -> None:
        """Take a temperature and the firmware's throttling flag; call it every tick.

        At `celsius_max`, or throttled, it is too hot until the temperature has fallen by
        `celsius_hysteresis` and nothing is throttled. A limit that cannot be checked is not met:
        with a `celsius_max`, nothing is learned while the temperature is unknown.

        Args:
            celsius: degrees; None or not finite where it cannot be read.
            throttled: whether the firmware slows the processor down.
        """
        self._celsius = celsius if celsius is not None and math.isfinite(celsius) else None
        limit = self.budget.celsius_max
        if limit is None:
            self.is_hot = throttled
        elif throttled or (self._celsius is not None and self._celsius >= limit):
            self.is_hot = True
        elif self._celsius is not None:
            is_cool = self._celsius <= limit - self.budget.celsius_hysteresis
            self.is_hot = self.is_hot and not is_cool

    def can_afford(self, cost: Cost, now_s: float) -> Shortfall | None:
        """The limit that is in the way of a reservation, the longest-lasting one; None if none."""
        self.advance(now_s)
        short = [self._heat(), self._memory(cost)]
        for name, account in self._accounts.items():
            needed = promised(name, cost)
            if name == "watts_mean":
                # Work that outlasts the window puts only part of its energy into it at a time.
                lasting_s = max(cost.seconds, self.budget.watts_window_s)
                needed = math.ceil(needed * (self.budget.watts_window_s / lasting_s))
            if 0 < needed > account.free:
                short.append(self._short(name, needed, account.free))
        return max((one for one in short if one), key=_wait_s, default=None)

    def reserve(self, cost: Cost, now_s: float) -> Reservation:
        """Promise the worst case of an adaptation to it. Save the wallet's state afterwards.

        Raises:
            ValueError: `can_afford` finds a shortfall.
        """
        shortfall = self.can_afford(cost, now_s)
        if shortfall:
            raise ValueError(f"nothing was reserved; {shortfall}")
        return Reservation(self, cost)

    def draw(self, energy_j: float, now_s: float) -> float:
        """Take from the battery what the device used beside learning; the other limits stay.

        Returns:
            The joules that the battery did not have; 0 where there is no battery.
        """
        self.advance(now_s)
        battery = self._accounts.get("battery")
        if battery is None:
            return 0.0
        used = booked("battery", Cost(energy_j=energy_j))
        taken = min(used, battery.left)
        battery.spend(taken)
        return (used - taken) / NANOJOULES

    def balances(self) -> dict[Resource, Balance]:
        """The books of every limited resource, as of the last call that gave a time."""
        return {name: balance(name, account) for name, account in self._accounts.items()}

    def to_state(self) -> dict[str, Any]:
        """Everything to go on from, as JSON can hold it.

        Save it after `reserve`, after `settle` and every so often between. What was spent and not
        saved is forgotten, but for what was reserved, which counts as spent.
        """
        return {
            "version": STATE_VERSION,
            "now_s": self._now_s,
            "overruns": self.overruns,
            "is_hot": self.is_hot,
            "accounts": {name: account.to_state() for name, account in self._accounts.items()},
        }

    @classmethod
    def from_state(cls, budget: Budget, state: object, now_s: float) -> Self:
        """Go on from a saved state, under the same budget or another.

        Whatever was reserved, and was there, counts as spent now: how much of it was cannot be
        known. A limit that the state does not know starts full.

        Raises:
            RunDirectoryError: the state is not one that `to_state` writes.
        """
        try:
            if not isinstance(state, dict) or state.keys() != _STATE_KEYS:
                raise ValueError("other entries than a wallet has")
            if state["version"] != STATE_VERSION or not isinstance(state["is_hot"], bool):
                raise ValueError(f"the version {state['version']!r}")
            if not isinstance(state["accounts"], dict):
                raise ValueError("accounts without names")
            wallet = cls(budget, _saved_instant(state["now_s"]))
            wallet.overruns, wallet.is_hot = whole(state["overruns"]), state["is_hot"]
            for name, account in wallet._accounts.items():
                if name in state["accounts"]:
                    account.restore(state["accounts"][name])
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise RunDirectoryError(
                f"The saved state of the wallet is damaged: {error}.",
                "A state that sel-edge saved is expected.",
                "Restore it from a backup; without one, remove it and the wallet starts anew.",
            ) from error
        wallet.advance(now_s)
        for account in wallet._accounts.values():
            account.spend(min(account.reserved, account.left))
            account.release(account.reserved)
        return wallet

    def _short(self, name: Resource, needed: int, free: int) -> Shortfall:
        account, scale = self._accounts[name], scale_of(name)
        ready_s = account.ready_s(needed)
        if ready_s is not None:
            note = f"Refilled in {duration(ready_s - self._given_s)}."
            if self._now_s - self._given_s > DAY_S:
                behind = duration(self._now_s - self._given_s)
                note += f" The clock was set back by {behind}; nothing refills until it catches up."
        elif needed > account.size:
            note = "It never holds that much."
        else:
            note = "Nothing that is known refills it."
        return Shortfall(name, needed / scale, free / scale, ready_s, note)

    def _memory(self, cost: Cost) -> Shortfall | None:
        limit = self.budget.ram_bytes
        if limit is None or cost.peak_bytes <= limit:
            return None
        return Shortfall("ram_bytes", cost.peak_bytes, limit, None, "It never holds that much.")

    def _heat(self) -> Shortfall | None:
        limit = self.budget.celsius_max
        if not self.is_hot and (limit is None or self._celsius is not None):
            return None
        celsius = math.inf if self._celsius is None else self._celsius
        if limit is None:
            note = "The firmware slows the processor down; it must have stopped."
            return Shortfall("celsius_max", celsius, math.inf, None, note)
        goal = limit - self.budget.celsius_hysteresis if self.is_hot else limit
        state = "unknown" if self._celsius is None else f"{self._celsius:.1f} C"
        note = f"The temperature is {state}; it must be known and at most {goal:.1f} C."
        return Shortfall("celsius_max", celsius, goal, None, note)


class Reservation:
    """Part of a wallet that one adaptation may use; made by `Wallet.reserve`.

    Before every step ask `may_go_on` with the most the step can take, and stop if it objects; after
    every step `charge` what it measured; at the end `settle`, or use it in a `with` statement.

    Attributes:
        cost: what was reserved.
        spent: what was charged so far.
    """

    def __init__(self, wallet: Wallet, cost: Cost) -> None:
        self.cost, self.spent = cost, NOTHING
        self._wallet = wallet
        self._rest = {name: promised(name, cost) for name in wallet._accounts}
        self._is_open = True
        for name, amount in self._rest.items():
            wallet._accounts[name].hold(amount)

    def may_go_on(self, next_step: Cost, now_s: float) -> Shortfall | None:
        """What is in the way of the next step; None if it may be taken.

        A shortfall of watts_mean ends by itself at its `ready_s`; any other ends the adaptation.

        Args:
            next_step: the most that the step can take.
            now_s: now.

        Raises:
            ValueError: the reservation is settled.
        """
        self._require_open()
        wallet = self._wallet
        wallet.advance(now_s)
        for shortfall in (wallet._heat(), wallet._memory(next_step)):
            if shortfall:
                return shortfall
        for name, account in wallet._accounts.items():
            step, rest = booked(name, next_step), self._rest[name]
            if not account.covers(step, rest):
                return self._objection(name, step)
        return None

    def charge(self, actual: Cost, now_s: float) -> Shortfall | None:
        """Book what a step took.

        Returns:
            None, or the limit of which it took more than was left of the reservation. That is
            booked too, counted in `Wallet.overruns`, and taken from what is free or refilled next;
            the adaptation should end.

        Raises:
            ValueError: the reservation is settled.
        """
        self._require_open()
        self._wallet.advance(now_s)
        self.spent += actual
        exceeded = None
        for name, account in self._wallet._accounts.items():
            step, rest = booked(name, actual), self._rest[name]
            if step > rest:
                exceeded = exceeded or self._objection(name, step)
            self._rest[name] = max(0, rest - step)
            account.release(min(step, rest))
            account.spend(step)
        if exceeded:
            self._wallet.overruns += 1
        return exceeded

    def settle(self) -> Cost:
        """Give back to the wallet what was not used, and return it; the second time, nothing."""
        unspent = self.cost.rest(self.spent) if self._is_open else NOTHING
        self._is_open = False
        for name, amount in self._rest.items():
            self._wallet._accounts[name].release(amount)
        self._rest.clear()
        return unspent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.settle()

    def _objection(self, name: Resource, step: int) -> Shortfall:
        account, rest, scale = self._wallet._accounts[name], self._rest[name], scale_of(name)
        if step > rest:
            note = "That is more than is left of the reservation."
            return Shortfall(name, step / scale, rest / scale, None, note)
        if name == "watts_mean":
            return self._wallet._short(name, step, account.free)
        note = "Something else took what was reserved."
        return Shortfall(name, account.reserved / scale, account.left / scale, None, note)

    def _require_open(self) -> None:
        if not self._is_open:
            raise ValueError("the reservation is settled")


def _wait_s(shortfall: Shortfall) -> float:
    return math.inf if shortfall.ready_s is None else shortfall.ready_s


def _instant(now_s: float) -> float:
    if not abs(now_s) <= _LATEST_S:
        raise ValueError(f"the time {now_s!r}")
    return float(now_s)


def _saved_instant(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"the time {value!r}")
    return _instant(value)
