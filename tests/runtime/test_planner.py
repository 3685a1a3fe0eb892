"""What is done first: the best gain for a joule that can be paid for; and what must wait."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.budget import Budget
from sel_edge.core.wallet import Wallet
from sel_edge.runtime.planner import COMMIT_WRITES, Deferral, Planner, UpdatePlan
from sel_edge.runtime.predictor import MARGIN, Predictor, worst
from tests.core import ledgers
from tests.runtime.scripted import FLOPS, NOW_S, RATES, Steps, proposal


def update(joules: int, gain: float, rung: str = "head", peak_bytes: int = 0) -> Steps:
    return Steps(proposal(GraphCost(FLOPS * joules, 0, peak_bytes), gain, rung))


def planner(budget: Budget | None = None, predictor: Predictor | None = None) -> Planner:
    wallet = Wallet(budget or Budget(), NOW_S)
    wallet.observe(20.0, False)
    return Planner(wallet, predictor or Predictor(RATES))


def chosen(found: UpdatePlan | Deferral | None) -> Steps:
    assert isinstance(found, UpdatePlan) and isinstance(found.update, Steps)
    return found.update


def test_without_updates_nothing_is_planned() -> None:
    assert planner().choose([], NOW_S) is None


def test_the_most_gain_for_a_joule_comes_first() -> None:
    cheap, dear, vain = update(1, 0.5), update(10, 2.0), update(1, 0.0)
    assert chosen(planner().choose([dear, vain, cheap], NOW_S)) is cheap
    assert chosen(planner().choose([dear, vain], NOW_S)) is dear


def test_of_equals_the_first_is_taken() -> None:
    twins = [update(2, 1.0), update(2, 1.0), update(4, 2.0)]
    assert chosen(planner().choose(twins, NOW_S)) is twins[0]
    assert chosen(planner().choose(twins[::-1], NOW_S)) is twins[2]


def test_work_that_costs_nothing_is_worth_the_most() -> None:
    free, cheap = update(0, 0.1), update(1, 5.0)
    assert chosen(planner().choose([cheap, free], NOW_S)) is free


def test_the_best_that_fits_is_taken_where_a_better_one_does_not() -> None:
    best, next_best, last = update(6, 12.0), update(4, 4.0), update(1, 0.1)
    of_ten = planner(Budget(energy_j_per_day=10.0))
    assert chosen(of_ten.choose([last, best, next_best], NOW_S)) is next_best


def test_the_worst_case_must_fit() -> None:
    of_ten = planner(Budget(energy_j_per_day=10.0))
    assert chosen(of_ten.choose([fits := update(5, 1.0)], NOW_S)) is fits
    assert MARGIN * 5.001 > 10
    too_dear = Steps(proposal(GraphCost(FLOPS * 5 + 1, 0, 0)))
    assert isinstance(of_ten.choose([too_dear], NOW_S), Deferral)


def test_what_must_wait_is_told_with_the_limit_and_the_time() -> None:
    budget = Budget(energy_j_per_day=10.0)
    wallet = Wallet(budget, NOW_S)
    spending = wallet.reserve(worst(planner().price(update(4, 1.0)).cost), NOW_S)
    spending.charge(spending.cost, NOW_S)
    spending.settle()
    best, other = update(3, 6.0), update(2, 1.0)
    found = Planner(wallet, Predictor(RATES)).choose([other, best], NOW_S)
    assert isinstance(found, Deferral) and found.plan.update is best
    shortfall = found.shortfall
    assert (shortfall.limit, shortfall.needed, shortfall.free) == ("energy_j_per_day", 6.0, 2.0)
    assert shortfall.ready_s == pytest.approx(NOW_S + 86_400, rel=1e-3)
    assert str(shortfall).startswith("energy_j_per_day: 6 J needed, 2 J free, 4 J short. Refilled")
    later = Planner(wallet, Predictor(RATES)).choose([other, best], shortfall.ready_s)
    assert chosen(later) is best


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        (Budget(flops_per_day=FLOPS - 1), "flops_per_day"),
        (Budget(flash_writes_per_day=COMMIT_WRITES - 1), "flash_writes_per_day"),
        (Budget(ram_bytes=99), "ram_bytes"),
        (Budget(watts_mean=0.001, watts_window_s=1.0), "watts_mean"),
        (Budget(capacity_j=1.0), "battery"),
    ],
)
def test_every_limit_can_be_in_the_way(budget: Budget, limit: str) -> None:
    found = planner(budget).choose([update(1, 1.0, peak_bytes=100)], NOW_S)
    assert isinstance(found, Deferral) and found.shortfall.limit == limit


def test_nothing_is_done_while_it_is_too_hot() -> None:
    wallet = Wallet(Budget(celsius_max=70.0), NOW_S)
    wallet.observe(71.0, False)
    found = Planner(wallet, Predictor(RATES)).choose([update(1, 1.0)], NOW_S)
    assert isinstance(found, Deferral) and found.shortfall.limit == "celsius_max"


def test_a_price_is_that_of_the_demand_and_of_keeping_it() -> None:
    cost = planner().price(update(3, 1.0, peak_bytes=77)).cost
    assert (cost.flops, cost.energy_j, cost.seconds) == (3 * FLOPS, 3.0, 3.0)
    assert (cost.peak_bytes, cost.flash_writes) == (77, COMMIT_WRITES)


def test_what_rungs_really_take_counts() -> None:
    """The same demand on a rung that always took sixteen times what was predicted."""
    dear = ledgers.update(
        rung="norm", predicted_energy_j=1.0, energy=ledgers.Energy(16.0, "measured")
    )
    learned = planner(predictor=Predictor(RATES, [dear]))
    norm, head = update(2, 1.0, "norm"), update(2, 0.5, "head")
    assert chosen(planner().choose([head, norm], NOW_S)) is norm
    assert chosen(learned.choose([head, norm], NOW_S)) is head


UPDATES = st.lists(
    st.builds(update, st.integers(0, 8), st.floats(0.0, 5.0), peak_bytes=st.integers(0, 200)),
    max_size=5,
)


@given(UPDATES, st.floats(0.0, 12.0), st.none() | st.integers(0, 200))
def test_what_is_chosen_fits_and_nothing_better_would(
    updates: list[Steps], joules: float, ram_bytes: int | None
) -> None:
    budget = Budget(energy_j_per_day=joules, ram_bytes=ram_bytes)
    made = planner(budget)
    found = made.choose(updates, NOW_S)
    plans = [made.price(one) for one in updates]
    fitting = [
        plan
        for plan in plans
        if planner(budget)._wallet.can_afford(worst(plan.cost), NOW_S) is None
    ]

    def worth(plan: UpdatePlan) -> float:
        return plan.proposal.gain / max(plan.cost.energy_j, 1e-9)

    if fitting:
        assert isinstance(found, UpdatePlan)
        assert found in fitting and worth(found) == max(map(worth, fitting))
    elif plans:
        assert isinstance(found, Deferral) and worth(found.plan) == max(map(worth, plans))
    else:
        assert found is None


def test_choosing_spends_nothing() -> None:
    made = planner(Budget(energy_j_per_day=10.0))
    for _ in range(20):
        made.choose([update(5, 1.0), replace(update(5, 1.0))], NOW_S)
    balance = made._wallet.balances()["energy_j_per_day"]
    assert (balance.left, balance.reserved) == (10.0, 0.0)
