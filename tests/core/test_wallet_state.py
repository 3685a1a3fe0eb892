"""A saved wallet goes on where it was, and a damaged one is refused."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.budget import Budget
from sel_edge.core.cost import Cost
from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.wallet import Wallet
from tests.core.wallets import EVERYTHING, NOON_S, cool, restart


def test_a_restart_goes_on_where_it_was_and_counts_reservations_as_spent() -> None:
    wallet = cool(EVERYTHING, NOON_S)
    reservation = wallet.reserve(Cost(flops=500, energy_j=6, flash_writes=2), NOON_S)
    reservation.charge(Cost(flops=100, energy_j=1), NOON_S)
    saved = wallet.to_state()
    again = restart(wallet, NOON_S)
    reservation.charge(Cost(flops=400, energy_j=5, flash_writes=2), NOON_S)
    assert again.balances() == wallet.balances()
    assert wallet.to_state() != saved
    assert restart(again, NOON_S).to_state() == again.to_state()


def test_another_budget_applies_to_what_was_spent_before() -> None:
    wallet = cool(EVERYTHING, NOON_S)
    wallet.reserve(Cost(flops=500, energy_j=6), NOON_S).charge(Cost(flops=500, energy_j=6), NOON_S)
    other = Budget(
        flops_per_day=400,
        watts_mean=1,
        watts_window_s=30,
        flash_writes_per_day=20,
        capacity_j=50,
    )
    books = Wallet.from_state(other, wallet.to_state(), NOON_S).balances()
    assert set(books) == {"flops_per_day", "watts_mean", "flash_writes_per_day", "battery"}
    assert (books["flops_per_day"].free, books["flops_per_day"].owed) == (0, 100)
    assert books["watts_mean"].free == 24
    assert books["flash_writes_per_day"].free == 20
    assert books["battery"].left == 50


def damaged_states() -> list[tuple[str, Any]]:
    wallet = cool(EVERYTHING, NOON_S)
    reservation = wallet.reserve(Cost(flops=500, energy_j=6), NOON_S)
    reservation.charge(Cost(flops=500, energy_j=6), NOON_S)
    good = wallet.to_state()
    flops, battery = ("accounts", "flops_per_day"), ("accounts", "battery")
    changes: list[tuple[tuple[str, ...], Any]] = [
        (("version",), 2),
        (("now_s",), "noon"),
        (("now_s",), math.nan),
        (("now_s",), True),
        (("overruns",), -1),
        (("is_hot",), 1),
        (("accounts",), None),
        (("extra",), 1),
        (flops, []),
        ((*flops, "spent"), -5),
        ((*flops, "spent"), 499),
        ((*flops, "spent"), 500.0),
        ((*flops, "spent"), 10**50),
        ((*flops, "wasted"), 1),
        ((*flops, "extra"), 1),
        ((*flops, "undated"), 1),
        ((*flops, "bins"), [[0, 250], [0, 250]]),
        ((*flops, "bins"), [[1, 250], [0, 250]]),
        ((*flops, "bins"), [[10**400, 500]]),
        ((*flops, "bins"), [[0.5, 500]]),
        ((*flops, "bins"), [["0", 500]]),
        ((*flops, "bins"), [[0, 1, 2]]),
        ((*flops, "bins"), [[index, 1] for index in range(500)]),
        ((*flops, "bins"), 7),
        ((*battery, "refilled"), None),
        ((*battery, "reserved"), True),
    ]
    states: list[tuple[str, Any]] = [("no object", 7), ("nothing", None), ("empty", {})]
    for path, value in changes:
        state = copy.deepcopy(good)
        place = state
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        states.append((f"{'.'.join(path)} = {str(value)[:20]}", state))
    return states


@pytest.mark.parametrize(
    "state", [pytest.param(state, id=name) for name, state in damaged_states()]
)
def test_a_damaged_state_is_refused(state: Any) -> None:
    with pytest.raises(RunDirectoryError, match="wallet"):
        Wallet.from_state(EVERYTHING, state, NOON_S)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(
    st.sampled_from(["version", "now_s", "overruns", "is_hot", "accounts"]),
    st.sampled_from(["flops_per_day", "battery", "watts_mean", None]),
    st.sampled_from(["spent", "bins", "undated", "bin_s", "reserved", "initial", None]),
    JSON,
)
def test_any_state_is_refused_or_makes_a_wallet_that_keeps_its_limits(
    key: str, account: str | None, counter: str | None, value: Any
) -> None:
    state = cool(EVERYTHING, NOON_S).to_state()
    if account is None:
        state[key] = value
    elif counter is None:
        state["accounts"][account] = value
    else:
        state["accounts"][account][counter] = value
    try:
        wallet = Wallet.from_state(EVERYTHING, state, NOON_S)
    except RunDirectoryError:
        return
    wallet.can_afford(Cost(flops=1_000, energy_j=50), NOON_S)
    for books in wallet.balances().values():
        assert 0 <= books.free <= books.left <= books.size


def test_a_restart_owes_nothing_for_what_was_reserved_and_not_there() -> None:
    wallet = cool(Budget(capacity_j=100, watts_mean=1, watts_window_s=60))
    wallet.reserve(Cost(energy_j=90, seconds=200), 0)
    wallet.draw(50, 0)
    for books in restart(wallet, 0).balances().values():
        assert (books.left, books.owed, books.reserved) == (0, 0, 0)
