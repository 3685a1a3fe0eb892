"""The books of a runtime: what the wallet is told, and what goes into the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sel_edge.core.ledger import Balances, Decision, LedgerWriter, Levels, Tick, Update
from sel_edge.core.measurement import Energy
from sel_edge.core.resources import Balance, Resource
from sel_edge.core.shortfall import Shortfall
from sel_edge.core.wallet_file import WalletFile
from sel_edge.runtime.board import Board
from sel_edge.runtime.overhead import Overhead
from sel_edge.runtime.planner import UpdatePlan
from sel_edge.runtime.predictor import worst

BALANCES_EVERY_FRAMES = 256
"""How often the wallet is told to the ledger when nothing is learned."""


class Books:
    """Keeps wallet and ledger up to date.

    Args:
        ledger: where everything is recorded.
        purse: what pays for learning.
        board: the machine.
        overhead: what it takes beside learning.
        found: decisions that the first record begins with.
    """

    def __init__(
        self,
        ledger: LedgerWriter,
        purse: WalletFile,
        board: Board,
        overhead: Overhead,
        found: Sequence[Decision],
    ) -> None:
        self._ledger, self._purse = ledger, purse
        self._board, self._overhead = board, overhead
        self._found, self._told = tuple(found), 0

    def care_for_wallet(self) -> None:
        """Tell the wallet the time, the temperature and what was drawn from the battery."""
        now_s, heat = self._board.clock(), self._board.heat()
        self._purse.wallet.observe(heat.celsius, heat.throttled)
        self._purse.wallet.draw(self._overhead.drawn(), now_s)
        self._purse.save_if_due(now_s)

    def spent(self) -> tuple[Energy, float]:
        """Energy and seconds of work since this was last asked, without any update."""
        joules, seconds = self._overhead.told()
        return Energy(joules, self._board.meter.origin), seconds

    def objection(self, plan: UpdatePlan) -> Shortfall | None:
        """The limit that is in the way of a plan's worst case now; None if none is."""
        heat = self._board.heat()
        self._purse.wallet.observe(heat.celsius, heat.throttled)
        return self._purse.wallet.can_afford(worst(plan.cost), self._board.clock())

    def balances(self) -> dict[Resource, Balance]:
        """What is in the wallet now; empty if nothing limits it."""
        self._purse.wallet.advance(self._board.clock())
        return self._purse.wallet.balances()

    def flush_if_due(self) -> None:
        """Write what waits to be told to the ledger, if it has waited long enough."""
        self._ledger.flush_if_due()

    def record(
        self,
        tick: Tick,
        decisions: Sequence[Decision],
        updates: Sequence[Update],
        levels: Iterable[Levels],
    ) -> tuple[Decision, ...]:
        """Tell the ledger; the decisions, behind what was found at the start.

        Raises:
            StorageError: it cannot be written; it is with the next record.
        """
        all_decisions, self._found = (*self._found, *decisions), ()
        frame = tick.start + tick.n
        is_due = updates or frame - self._told >= BALANCES_EVERY_FRAMES
        balances = self._balances(frame) if is_due else None
        self._ledger.record(tick, all_decisions, updates, levels, balances)
        return all_decisions

    def close(self) -> None:
        """Save the wallet."""
        now_s = self._board.clock()
        self._purse.wallet.draw(self._overhead.drawn(), now_s)
        self._purse.save(now_s)

    def _balances(self, frame: int) -> Balances | None:
        """What is in the wallet; None if it has no limits."""
        self._told = frame
        balances, heat = self._purse.wallet.balances(), self._board.heat()
        if not balances:
            return None
        return Balances(
            frame=frame,
            utc_s=self._board.clock(),
            celsius=heat.celsius,
            throttled=heat.throttled,
            balances={name: (one.left, one.size) for name, one in balances.items()},
        )
