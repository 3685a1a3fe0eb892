"""What a machine takes beside learning: told by the ticks, and drawn from the battery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sel_edge.runtime.board import Board, Lap


class Overhead:
    """Divides what the meter and the stopwatch say among idling, work and learning.

    One lap is read wherever one of them ends and another begins, so that nothing is counted twice
    and nothing is left out. Learning pays for itself; all else is drawn from the battery, and what
    is not idling is told by the next tick.

    Args:
        board: the machine.
    """

    def __init__(self, board: Board) -> None:
        self._lap, self._is_working = Lap(board), False
        self._drawn_j = 0.0
        self._told = (0.0, 0.0)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Whatever is done inside is work, and what came before it was idling."""
        if self._is_working:
            yield
            return
        self._drawn_j += self._lap.read()[0]
        self._is_working = True
        try:
            yield
        finally:
            self._work()
            self._is_working = False

    def learning(self) -> Lap:
        """What learning is measured by: whatever it reads from now on is no overhead."""
        self._work()
        return self._lap

    def told(self) -> tuple[float, float]:
        """Joules and seconds of work since this was last asked, for the record of a tick; asked
        inside `working`."""
        self._work()
        told, self._told = self._told, (0.0, 0.0)
        return told

    def tell(self, joules: float, seconds: float) -> None:
        """Let the next tick tell of learning that no record of its own will tell of."""
        self._told = (self._told[0] + joules, self._told[1] + seconds)

    def drawn(self) -> float:
        """Joules of idling and work that ended since this was last asked, for the battery."""
        drawn_j, self._drawn_j = self._drawn_j, 0.0
        return drawn_j

    def _work(self) -> None:
        joules, seconds = self._lap.read()
        self._drawn_j += joules
        self.tell(joules, seconds)
