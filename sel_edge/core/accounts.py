"""The books of one limited resource, in whole units.

FLOPs and flash writes are whole anyway, and joules are kept as nanojoules, so that books balance
exactly however long they are kept: initial + refilled - wasted - spent is what there is.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any

from sel_edge.core.solar import RefillCurve

BINS = 256
"""Of a sliding window: spending is remembered this finely, and returns at most one bin late."""

_COUNTERS = ("initial", "refilled", "wasted", "spent", "reserved")
_MOST = 10**40
_LAST_BIN = 10**15


class Account(ABC):
    """What is common to all accounts.

    Attributes:
        size: the most that can be there.
        initial, refilled, wasted, spent: totals since the account was opened; `wasted` arrived
            while it was full.
        reserved: promised to adaptations that have not used it yet.
    """

    def __init__(self, size: int, initial: int) -> None:
        self.size = size
        self.initial = initial
        self.refilled = self.wasted = self.spent = self.reserved = 0

    @property
    def net(self) -> int:
        """What is there; negative after a step took more than there was."""
        return self.initial + self.refilled - self.wasted - self.spent

    @property
    def left(self) -> int:
        """What is there, reservations included; at least 0."""
        return max(0, self.net)

    @property
    def owed(self) -> int:
        """What the next refill pays for first; at least 0."""
        return max(0, -self.net)

    @property
    def free(self) -> int:
        """What a new reservation may take; at least 0."""
        return max(0, self.net - self.claimed)

    @property
    def claimed(self) -> int:
        """What reservations keep others from taking."""
        return self.reserved

    def covers(self, step: int, rest: int) -> bool:
        """Whether a step that takes `step` fits into the `rest` of its reservation."""
        return step == 0 or (step <= rest and self.net >= self.reserved)

    def hold(self, amount: int) -> None:
        """Reserve an amount."""
        self.reserved += amount

    def release(self, amount: int) -> None:
        """Let go of part of what is reserved."""
        self.reserved -= amount

    def spend(self, amount: int) -> None:
        """Take an amount that was used, whatever was reserved."""
        self.spent += amount

    @abstractmethod
    def advance(self, now_s: float, is_behind: bool = False) -> None:
        """Refill up to an instant that is not before the last one.

        Args:
            now_s: the latest instant that the clock has ever shown.
            is_behind: whether it was set back and shows an earlier one at present.
        """

    @abstractmethod
    def ready_s(self, needed: int) -> float | None:
        """When `needed`, more than is free now, will be; None if that cannot be said."""

    def to_state(self) -> dict[str, Any]:
        """Everything but the limit, as whole numbers and lists of them."""
        return {name: getattr(self, name) for name in _COUNTERS}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over counters from outside.

        Raises:
            KeyError, TypeError, ValueError: they are not those of an account of this kind.
        """
        if state.keys() != self.to_state().keys():
            raise ValueError(f"an account with the entries {sorted(state)}")
        for name in _COUNTERS:
            setattr(self, name, whole(state[name]))


class Tank(Account):
    """A battery: full or not, filled by a curve up to its capacity.

    Args:
        size, initial: nanojoules.
        curve: what fills it; None for nothing.
        now_s: since when.
    """

    def __init__(self, size: int, initial: int, curve: RefillCurve | None, now_s: float) -> None:
        super().__init__(size, initial)
        self._curve = curve
        self._now_s = now_s

    def advance(self, now_s: float, is_behind: bool = False) -> None:
        """Add what arrived; what does not fit is wasted."""
        if self._curve is not None:
            arrived = self._curve.cumulative_nj(now_s) - self._curve.cumulative_nj(self._now_s)
            self.refilled += max(0, arrived)
        self._now_s = now_s
        self._spill()

    def ready_s(self, needed: int) -> float | None:
        """When the curve will have brought what is missing."""
        if needed > self.size - self.claimed or self._curve is None:
            return None
        return self._curve.ready_s(self._now_s, needed + self.claimed - self.net)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over counters; what a smaller battery cannot hold is wasted."""
        super().restore(state)
        self._spill()

    def _spill(self) -> None:
        self.wasted += max(0, self.net - self.size)


class Window(Account):
    """So much in any span of `window_s`: what is spent comes back once it is that long ago.

    Spending is remembered in bins. A bin comes back when all of it is `window_s` ago, so that no
    span of that length, wherever it starts, ever holds more than the limit. What is spent while the
    clock is behind gets its date when the clock has caught up, lest it come back early.
    """

    def __init__(self, size: int, window_s: float, now_s: float) -> None:
        super().__init__(size, size)
        self._bin_s = window_s / BINS
        self._bins: deque[tuple[int, int]] = deque()
        self._now_bin = self._bin(now_s)
        self._undated = 0
        self._is_behind = False

    def spend(self, amount: int) -> None:
        """Take an amount now."""
        super().spend(amount)
        self._undated += amount
        if not self._is_behind:
            self._date()

    def advance(self, now_s: float, is_behind: bool = False) -> None:
        """Give back what was spent long enough ago."""
        self._now_bin = self._bin(now_s)
        self._is_behind = is_behind
        if not is_behind:
            self._date()
        while self._bins and self._bins[0][0] + BINS < self._now_bin:
            self.refilled += self._bins.popleft()[1]

    def ready_s(self, needed: int) -> float | None:
        """When enough of what was spent has come back."""
        missing = needed + self.claimed - self.net
        for index, amount in (*self._bins, (self._now_bin, self._undated)):
            missing -= amount
            if missing <= 0:
                return self._start_s(index + BINS + 1)
        return None

    def to_state(self) -> dict[str, Any]:
        """Counters and bins."""
        bins = [[index, amount] for index, amount in self._bins]
        window = {"bin_s": self._bin_s, "bins": bins, "undated": self._undated}
        return {**super().to_state(), **window}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over counters and bins; the limit and the window are those of the budget."""
        super().restore(state)
        self._bins = deque((_index(index), whole(amount)) for index, amount in state["bins"])
        self._undated = whole(state["undated"])
        indices = [index for index, _ in self._bins]
        total = self._undated + sum(amount for _, amount in self._bins)
        if len(indices) > BINS + 1 or indices != sorted(set(indices)):
            raise ValueError("a window with bins out of order")
        if total != self.spent - self.refilled or self.wasted:
            raise ValueError("a window whose bins are not what was spent")
        if state["bin_s"] != self._bin_s or (indices and indices[-1] > self._now_bin):
            # Another window than now: as if all of it had been spent this instant.
            self._bins.clear()
            self._undated = total
        self.initial = self.size

    def _date(self) -> None:
        """What was spent lately was spent now."""
        if self._undated and self._bins and self._bins[-1][0] == self._now_bin:
            self._undated += self._bins.pop()[1]
        if self._undated:
            self._bins.append((self._now_bin, self._undated))
        self._undated = 0

    def _bin(self, now_s: float) -> int:
        return math.floor(now_s / self._bin_s)

    def _start_s(self, index: int) -> float:
        """The first instant that counts to a bin."""
        start = index * self._bin_s
        while self._bin(start) < index:  # at most a few roundings
            start = math.nextafter(start, math.inf)
        return start


class Pace(Window):
    """Joules over a sliding window: how fast energy may be used, not how much of it.

    What is reserved is used over a longer time, so it does not count against the window until it
    is; each step is held up against the window instead.
    """

    @property
    def claimed(self) -> int:
        """Nothing: see the class."""
        return 0

    def covers(self, step: int, rest: int) -> bool:
        """Whether the window has room for the step."""
        return step == 0 or step <= min(rest, self.net)


def whole(value: object) -> int:
    """A whole number of at least 0 from outside; raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ValueError(f"the amount {value!r}")
    return value


def _index(value: object) -> int:
    if not isinstance(value, int) or abs(value) > _LAST_BIN:
        raise ValueError(f"the bin {value!r}")
    return value
