"""A board that is only computed: its clock, its meter and its battery."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.rungs import ESTIMATING, GraphCost
from sel_edge.core.budget import Budget
from sel_edge.core.measurement import Origin
from sel_edge.core.solar import RefillCurve
from sel_edge.core.wallet import Wallet
from sel_edge.energy.model import estimate
from sel_edge.energy.profile import DeviceProfile
from sel_edge.runtime.board import Board, Heat, Rates
from sel_edge.simulate.thermal import Warmth

START_S = 1_767_225_600.0
"""Midnight, 1 January 2026 UTC: where virtual time begins. Curves of the sun repeat every day."""
WAKE_SHARE = 0.05
"""Of its capacity, what the battery must hold again before a board that ran out starts anew."""
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Supply:
    """What a board lives on.

    Attributes:
        capacity_j: joules that the battery holds.
        initial_j: its charge at first, 0..capacity_j.
        sun: what charges it.
    """

    capacity_j: float
    initial_j: float
    sun: RefillCurve


@dataclass
class Drawn:
    """Joules that the board drew; the last two are what work added to idling."""

    idling_j: float = 0.0
    answering_j: float = 0.0
    learning_j: float = 0.0

    @property
    def total_j(self) -> float:
        """All of them."""
        return self.idling_j + self.answering_j + self.learning_j


class SimulatedBoard:
    """A board in virtual time, and the meter of its joules.

    Work takes the seconds and the joules that the profile says of its operations and bytes, and
    idling goes on meanwhile. The battery is charged and drawn on once for every piece of work and
    every wait; one that would have been overdrawn is empty, and the board goes off at the end of
    what it was doing. It starts again once the battery holds `WAKE_SHARE`.

    Args:
        profile: the board.
        rates: what the runtime expects of it.
        supply: its battery and its sun.
        ambient_celsius: of the air around it.
        bytes_per_flop: memory traffic of answers; see `answer_traffic`.

    Attributes:
        origin, name: as of a meter.
        is_on: whether it is.
        drawn: all it drew so far.
        elapsed_s: since the start.
    """

    origin: Origin = "estimated"

    def __init__(
        self,
        profile: DeviceProfile,
        rates: Rates,
        supply: Supply,
        ambient_celsius: float,
        bytes_per_flop: float,
    ) -> None:
        self.name = f"simulated:{profile.name}, idling and waiting included"
        self._profile, self._supply, self._bytes_per_flop = profile, supply, bytes_per_flop
        self._battery = Wallet(
            Budget(capacity_j=supply.capacity_j, initial_j=supply.initial_j, refill=supply.sun),
            START_S,
        )
        self._warmth = Warmth(profile, ambient_celsius)
        self._due_s: float | None = None
        self.elapsed_s, self.drawn, self._paid_j = 0.0, Drawn(), 0.0
        self.is_on = supply.initial_j > 0
        self.machine = Board(
            meter=self,
            rates=rates,
            heat=self._heat,
            clock=lambda: self.now_s,
            stopwatch=lambda: self.elapsed_s,
            worked=self._worked,
        )

    @property
    def now_s(self) -> float:
        """Virtual time, as seconds since 1970."""
        return START_S + self.elapsed_s

    @property
    def celsius(self) -> float:
        """Of the processor."""
        return self._warmth.celsius

    @property
    def charge_j(self) -> float:
        """What the battery holds."""
        return self._battery.balances()["battery"].left

    def read_j(self) -> float:
        """Joules of the whole board since the start."""
        return self.drawn.total_j

    def sunshine_j(self, since_s: float) -> float:
        """What the sun has given since an `elapsed_s`, wasted or not."""
        return self._supply.sun.energy_j(START_S + since_s, self.now_s)

    def expect_answers(self, due_s: float) -> None:
        """The next work is the answers to a batch of frames; then the board waits for more.

        Args:
            due_s: `elapsed_s` at which the next frames are there; work may last longer.
        """
        self._due_s = due_s

    def sleep(self, until_s: float) -> None:
        """Be off until then, charging, and start again if the battery holds enough."""
        self._warmth.after(until_s - self.elapsed_s, 0.0)
        self.elapsed_s = until_s
        self._battery.advance(self.now_s)
        self.is_on = self.charge_j >= WAKE_SHARE * self._supply.capacity_j

    def _worked(self, demand: GraphCost) -> None:
        if self._due_s is None:
            self.drawn.learning_j += self._take(demand)
        else:
            due_s, self._due_s = self._due_s, None
            moved = round(demand.executed_flops * self._bytes_per_flop)
            self.drawn.answering_j += self._take(replace(demand, moved_bytes=moved))
            self._go_on(max(0.0, due_s - self.elapsed_s), 0.0)
        self._pay()

    def _take(self, demand: GraphCost) -> float:
        """Do some work; the joules it added to idling."""
        taken = estimate(self._profile, demand.executed_flops, demand.moved_bytes)
        self._go_on(taken.seconds, taken.joules_above_idle)
        return taken.joules_above_idle

    def _go_on(self, seconds: float, above_j: float) -> None:
        """Let time pass in which the board does something that takes these joules above idle."""
        idling_j = self._profile.idle_w * seconds
        self.elapsed_s += seconds
        self.drawn.idling_j += idling_j
        if seconds:
            self._warmth.after(seconds, (idling_j + above_j) / seconds)

    def _pay(self) -> None:
        """Take from the battery, after it was charged, what was drawn since the last time."""
        missing_j = self._battery.draw(self.drawn.total_j - self._paid_j, self.now_s)
        self._paid_j = self.drawn.total_j
        self.is_on = self.is_on and missing_j == 0

    def _heat(self) -> Heat:
        return Heat(self.celsius, throttled=self.celsius >= self._profile.celsius_max)


def answer_traffic(bundle: Bundle) -> float:
    """Bytes that answering moves for each operation, by what the bundle tells.

    Re-estimating normalization is a forward pass, whose traffic is known. A bundle without it says
    only how large its weights are; they are read at least once for every frame.
    """
    manifest = bundle.manifest
    if ESTIMATING in manifest.rungs:
        cost = manifest.rungs[ESTIMATING].main.cost
        return cost.moved_bytes / cost.executed_flops
    return _FLOAT_BYTES * manifest.model.parameters / (2 * manifest.model.forward_macs)
