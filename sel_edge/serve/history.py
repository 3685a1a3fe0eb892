"""What a device remembers of its past for people: bounded, however long it runs."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping

from sel_edge.core.ledger import ClassEmbarrassment, Decision, Tick, Update
from sel_edge.core.measurement import Energy
from sel_edge.serve.snapshot import Event, Point, Spent

MAX_POINTS = 240
MAX_EVENTS = 200
RATE_WINDOW_S = 10
INFERENCE = "inference"


class Curve:
    """Points over time, all about equally far apart; with twice the time, twice as far.

    Args:
        interval_s: between two points at first.
    """

    def __init__(self, interval_s: float = 1.0) -> None:
        self._interval_s = interval_s
        self._points: list[Point] = []

    @property
    def points(self) -> tuple[Point, ...]:
        """Oldest first, at most `MAX_POINTS`."""
        return tuple(self._points)

    def add(self, point: Point) -> None:
        """Take a point, if the last one is long enough ago."""
        if self._points and 0 <= point.utc_s - self._points[-1].utc_s < self._interval_s:
            return
        self._points.append(point)
        if len(self._points) > MAX_POINTS:
            del self._points[1::2]
            self._interval_s *= 2


class Rate:
    """Frames per second, the mean of the last ten seconds."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOW_S + 1)

    def add(self, frames: int, now_s: float) -> None:
        """Count frames.

        Args:
            frames: how many.
            now_s: of a clock that never runs backwards.
        """
        second, count = int(now_s), 0
        if self._seconds and self._seconds[-1][0] == second:
            count = self._seconds.pop()[1]
        self._seconds.append((second, count + frames))

    def read(self, now_s: float, since_s: float) -> float:
        """Frames per second.

        Args:
            now_s: by the same clock.
            since_s: when counting began: it may be less than ten seconds ago.
        """
        frames = sum(count for second, count in self._seconds if now_s - second <= RATE_WINDOW_S)
        return frames / min(max(now_s - since_s, 1.0), RATE_WINDOW_S)


class History:
    """Embarrassment, decisions and costs, as ticks and updates tell them.

    Attributes:
        embarrassment: class -> windows now.
        curve: embarrassment over time.
    """

    def __init__(self) -> None:
        self.embarrassment: dict[str, ClassEmbarrassment] = {}
        self.curve = Curve()
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._joules: dict[str, Energy] = {}
        self._flops: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    @property
    def events(self) -> tuple[Event, ...]:
        """The newest, oldest first."""
        return tuple(self._events)

    @property
    def spent(self) -> tuple[Spent, ...]:
        """Where joules went."""
        return tuple(
            Spent(purpose, energy, self._flops[purpose], self._seconds[purpose])
            for purpose, energy in self._joules.items()
        )

    def tick(self, tick: Tick, utc_s: float) -> None:
        """Take in a batch of frames.

        Args:
            tick: as the ledger has it.
            utc_s: when, seconds since 1970.
        """
        self._spend(INFERENCE, tick.energy, tick.executed_flops + tick.watching_flops, tick.seconds)
        windows = self.embarrassment | dict(tick.embarrassment)
        self.embarrassment = {name: one for name, one in windows.items() if known(one) is not None}
        if tick.n:
            self.curve.add(Point(utc_s, tick.start + tick.n, values_of(self.embarrassment)))

    def decided(
        self, decisions: Iterable[Decision], updates: Iterable[Update], utc_s: float
    ) -> None:
        """Take in what was decided, and what it took.

        Args:
            decisions, updates: of one tick, in order.
            utc_s: when, seconds since 1970.
        """
        updates = list(updates)
        for update in updates:
            self._spend(update.rung, update.energy, update.executed_flops, update.seconds)
        for event in events_of(decisions, updates, utc_s):
            self.tell(event)

    def tell(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)

    def forget_windows(self) -> None:
        """Another network runs, or the same one again: its windows begin anew."""
        self.embarrassment = {}

    def _spend(self, purpose: str, energy: Energy, flops: int, seconds: float) -> None:
        before = self._joules.get(purpose)
        self._joules[purpose] = energy if before is None else before + energy
        self._flops[purpose] += flops
        self._seconds[purpose] = self._seconds.get(purpose, 0.0) + seconds


def known(windows: ClassEmbarrassment) -> float | None:
    """Embarrassment in nats by labels, else by the stand-in; None if neither is known."""
    return windows.standin if windows.exact is None else windows.exact


def values_of(windows: Mapping[str, ClassEmbarrassment]) -> dict[str, float]:
    """Class -> embarrassment in nats, where it is known."""
    found = {name: known(one) for name, one in windows.items()}
    return {name: value for name, value in found.items() if value is not None}


def events_of(
    decisions: Iterable[Decision], updates: Iterable[Update], utc_s: float | None
) -> list[Event]:
    """Decisions as events; each update's energy goes to the decision that concluded it.

    Args:
        decisions, updates: in the order of the ledger.
        utc_s: when; None if that is not known.
    """
    energies = iter([update.energy for update in updates])
    return [
        Event(
            utc_s=utc_s,
            frame=decision.frame,
            kind=decision.kind,
            reason=decision.reason,
            classes=decision.classes,
            energy=next(energies, None) if decision.kind in ("keep", "reject", "stop") else None,
        )
        for decision in decisions
    ]
