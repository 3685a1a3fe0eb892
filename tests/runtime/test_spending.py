"""Work within a wallet: whatever steps measure, nothing is spent that is not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.budget import Budget
from sel_edge.core.cost import NOTHING, Cost
from sel_edge.core.solar import ConstantWatts
from sel_edge.core.wallet import Wallet
from sel_edge.core.wallet_file import WalletFile
from sel_edge.runtime.overhead import Overhead
from sel_edge.runtime.planner import COMMIT_WRITES, Planner
from sel_edge.runtime.predictor import Predictor, worst
from sel_edge.runtime.spending import Done, carry_out
from tests.runtime.scripted import FLOPS, NOW_S, RATES, STEP, Machine, Steps, like, steps

TEN_J = Budget(energy_j_per_day=10.0)


class Spent:
    """What came of carrying out an update on a scripted machine, and what is left."""

    def __init__(
        self,
        path: Path,
        update: Steps,
        takes: Iterable[tuple[float, float]],
        budget: Budget = TEN_J,
        conclude: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self.machine = Machine(takes)
        self.purse = WalletFile(path / "wallet.json", budget, NOW_S)
        self.purse.wallet.observe(20.0, False)
        self.predictor, self.budget = Predictor(RATES), budget
        self.plan = Planner(self.purse.wallet, self.predictor).price(update)
        self._update, self._conclude, self.concluded = update, conclude, list[str]()

    def __call__(self) -> Done[str]:
        def conclude(result: str) -> int:
            self.concluded.append(result)
            return self._conclude(result)

        return carry_out(
            self._update.makes(),
            self.plan,
            conclude,
            self.purse,
            self.predictor,
            self.machine.board,
            Overhead(self.machine.board),
        )

    @property
    def left(self) -> dict[str, float]:
        return {name: one.left for name, one in self.purse.wallet.balances().items()}

    @property
    def reserved(self) -> set[float]:
        return {one.reserved for one in self.purse.wallet.balances().values()}

    def saved(self) -> Wallet:
        """What a process that starts now would find."""
        state = json.loads((self.purse._path).read_bytes())
        return Wallet.from_state(self.budget, state, self.machine.now_s)


def test_work_that_costs_what_was_expected_is_done(tmp_path: Path) -> None:
    spent = Spent(tmp_path, steps(4), like((1.0, 1.0)))
    done = spent()
    assert (done.result, done.steps, done.stopped) == ("made", 4, "")
    assert done.cost == Cost(4 * FLOPS, 4.0, 4.0, STEP.peak_bytes, 0)
    assert done.expected == Cost(4 * FLOPS, 4.0, 4.0, STEP.peak_bytes, 0)
    assert spent.concluded == ["made"]
    assert (spent.left, spent.reserved) == ({"energy_j_per_day": 6.0}, {0.0})


def test_the_hard_stop_falls_before_the_step_that_would_overdraw(tmp_path: Path) -> None:
    """8 J are promised; after three steps of 2.5 J, a fourth might take 2 J and 0.5 are left."""
    update = steps(4)
    spent = Spent(tmp_path, update, like((2.5, 1.0)))
    done = spent()
    assert (done.result, done.steps, update.taken) == (None, 3, 3)
    assert not update.is_open and spent.concluded == []
    assert "energy_j_per_day: 2 J needed, 0.5 J free, 1.5 J short" in done.stopped
    assert done.cost.energy_j == 7.5 and done.expected.energy_j == 3.0
    assert (spent.left, spent.reserved) == ({"energy_j_per_day": 2.5}, {0.0})
    assert spent.purse.wallet.overruns == 0


@pytest.mark.parametrize(("takes", "left"), [(9.0, 1.0), (12.0, 0.0)])
def test_a_step_that_measures_more_than_is_left_is_the_last(
    tmp_path: Path, takes: float, left: float
) -> None:
    update = steps(4)
    spent = Spent(tmp_path, update, like((takes, 1.0)))
    done = spent()
    assert (done.result, done.steps, update.taken) == (None, 1, 1)
    assert not update.is_open and spent.concluded == []
    assert "more than is left of the reservation" in done.stopped
    assert done.cost.energy_j == takes
    assert (spent.left, spent.reserved) == ({"energy_j_per_day": left}, {0.0})
    assert spent.purse.wallet.overruns == 1


def test_what_the_very_last_step_has_made_is_not_thrown_away(tmp_path: Path) -> None:
    """It is paid for already, and there is nothing left to stop."""
    spent = Spent(tmp_path, steps(2), [(1.0, 1.0), (12.0, 1.0)])
    done = spent()
    assert (done.result, done.stopped) == ("made", "")
    assert spent.left == {"energy_j_per_day": 0.0} and spent.purse.wallet.overruns == 1


def test_a_step_too_large_for_the_promise_is_not_begun(tmp_path: Path) -> None:
    """Work that announces more than its proposal said."""
    update = steps(2)
    update.demands = (STEP, GraphCost(FLOPS + 1, 0, 0))
    done = Spent(tmp_path, update, (), Budget(flops_per_day=10 * FLOPS))()
    assert (done.result, done.steps, update.taken) == (None, 1, 1)


def test_the_reservation_is_saved_before_the_first_step(tmp_path: Path) -> None:
    """A process that is killed in the first step must not find the promised joules again."""
    found: list[float] = []

    def look(number: int) -> None:
        found.append(spent.saved().balances()["energy_j_per_day"].left)

    spent = Spent(tmp_path, steps(3, between=look), like((1.0, 1.0)))
    assert spent().result == "made"
    assert found == [4.0] * 3  # of ten, twice three were promised
    assert spent.saved().balances()["energy_j_per_day"].left == 7.0


def test_heat_stops_it(tmp_path: Path) -> None:
    def heat(number: int) -> None:
        if number == 1:
            spent.purse.wallet.observe(80.0, False)

    update = steps(4, between=heat)
    spent = Spent(tmp_path, update, like((1.0, 1.0)), Budget(celsius_max=70.0))
    done = spent()
    assert (done.result, update.taken) == (None, 2)
    assert done.stopped.startswith("celsius_max: The temperature is 80.0 C")


def test_files_that_were_written_are_paid_for(tmp_path: Path) -> None:
    budget = Budget(flash_writes_per_day=10)
    spent = Spent(tmp_path, steps(1), (), budget, conclude=lambda _: COMMIT_WRITES)
    assert spent().cost.flash_writes == COMMIT_WRITES
    assert spent.left == {"flash_writes_per_day": 10 - COMMIT_WRITES}


def test_without_limits_nothing_stops_it_and_nothing_is_written(tmp_path: Path) -> None:
    spent = Spent(tmp_path, steps(3), like((1e9, 1e6)), Budget())
    done = spent()
    assert (done.result, done.cost.energy_j) == ("made", 3e9)
    assert list(tmp_path.iterdir()) == []


def test_work_without_steps_is_done_at_once(tmp_path: Path) -> None:
    done = Spent(tmp_path, steps(0), ())()
    assert (done.result, done.steps, done.cost) == ("made", 0, NOTHING)


@pytest.mark.parametrize("where", ["a step", "the conclusion"])
def test_errors_give_back_what_was_not_spent(tmp_path: Path, where: str) -> None:
    def fail(_: object) -> int:
        raise OSError("no such luck")

    update = steps(3, between=fail) if where == "a step" else steps(3)
    spent = Spent(tmp_path, update, like((1.0, 1.0)), conclude=fail)
    with pytest.raises(OSError, match="no such luck"):
        spent()
    assert spent.reserved == {0.0} and not update.is_open
    assert spent.left == {"energy_j_per_day": 10.0 if where == "a step" else 7.0}


def test_what_cannot_be_afforded_is_not_begun(tmp_path: Path) -> None:
    update = steps(6)
    spent = Spent(tmp_path, update, like((1.0, 1.0)))
    with pytest.raises(ValueError, match="nothing was reserved"):
        spent()
    assert update.taken == 0 and spent.left == {"energy_j_per_day": 10.0}


AMOUNTS = st.floats(0.0, 20.0)
BUDGETS = st.builds(
    Budget,
    flops_per_day=st.none() | st.integers(0, 12 * FLOPS),
    energy_j_per_day=st.none() | AMOUNTS,
    watts_mean=st.none() | st.floats(0.0, 1.0),
    watts_window_s=st.floats(1.0, 100.0),
    flash_writes_per_day=st.none() | st.integers(0, 6),
    ram_bytes=st.none() | st.integers(0, 128),
    capacity_j=st.floats(0.001, 20.0),
    refill=st.none() | st.just(ConstantWatts(0.1)),
)
TAKES = st.lists(st.tuples(AMOUNTS, st.floats(0.0, 100.0)), max_size=8)


@settings(deadline=None)  # writes a file
@given(BUDGETS, TAKES, st.integers(0, 8), st.integers(0, COMMIT_WRITES))
@example(Budget(energy_j_per_day=20.0), [(2.0, 1.0)] * 8, 8, 0)
def test_whatever_steps_take_no_balance_is_overdrawn(
    tmp_path_factory: pytest.TempPathFactory,
    budget: Budget,
    takes: list[tuple[float, float]],
    count: int,
    writes: int,
) -> None:
    update = steps(count)
    folder = tmp_path_factory.mktemp("spent")
    spent = Spent(folder, update, takes, budget, conclude=lambda _: writes)
    wallet, before = spent.purse.wallet, spent.left
    if wallet.can_afford(worst(spent.plan.cost), NOW_S) is not None:
        return
    done = spent()
    assert (done.result is None) == bool(done.stopped) == (spent.concluded == [])
    assert done.steps == update.taken and (done.result is None or done.steps == count)
    books = wallet.balances()
    assert all(0 <= one.left <= one.size and one.reserved == 0 for one in books.values())
    if not wallet.overruns:
        assert all(one.owed == 0 for one in books.values())
    if "flops_per_day" in books:
        assert books["flops_per_day"].spent == done.cost.flops == FLOPS * done.steps
    if "energy_j_per_day" in books:
        measured = sum(joules for joules, _ in takes[: done.steps])
        assert books["energy_j_per_day"].spent == pytest.approx(measured, abs=1e-6)
        promised = min(before["energy_j_per_day"], worst(spent.plan.cost).energy_j) + 1e-6
        assert wallet.overruns or measured <= promised
        assert sum(joules for joules, _ in takes[: max(0, done.steps - 1)]) <= promised
    if books:
        again = spent.saved().balances()
        assert {name: one.left for name, one in again.items()} == pytest.approx(spent.left)
