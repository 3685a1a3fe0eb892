"""The resources that a wallet keeps books of: their names, units and accounts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sel_edge.core.accounts import Account, Pace, Tank, Window
from sel_edge.core.budget import Budget
from sel_edge.core.cost import Cost
from sel_edge.core.solar import DAY_S, NANOJOULES

Resource = Literal[
    "flops_per_day", "energy_j_per_day", "watts_mean", "flash_writes_per_day", "battery"
]


@dataclass(frozen=True)
class Balance:
    """The books of one resource, in FLOPs, writes or joules.

    initial + refilled - wasted - spent = left - owed.

    Attributes:
        size: the most that can be there.
        left: what is there, reservations included; 0..size.
        free: what a new reservation may take; 0..left.
        reserved: promised and not used yet.
        owed: taken by steps beyond what was there; the next refill pays for it.
        initial, refilled, wasted, spent: totals since the wallet was opened.
    """

    size: float
    left: float
    free: float
    reserved: float
    owed: float
    initial: float
    refilled: float
    wasted: float
    spent: float


def open_accounts(budget: Budget, now_s: float) -> dict[Resource, Account]:
    """A full account for every limit there is."""
    accounts: dict[Resource, Account] = {}
    if budget.flops_per_day is not None:
        accounts["flops_per_day"] = Window(budget.flops_per_day, DAY_S, now_s)
    if budget.flash_writes_per_day is not None:
        accounts["flash_writes_per_day"] = Window(budget.flash_writes_per_day, DAY_S, now_s)
    if budget.energy_j_per_day is not None:
        limit_nj = math.ceil(budget.energy_j_per_day * NANOJOULES)
        accounts["energy_j_per_day"] = Window(limit_nj, DAY_S, now_s)
    if budget.watts_mean is not None:
        limit_nj = math.ceil(budget.watts_mean * budget.watts_window_s * NANOJOULES)
        accounts["watts_mean"] = Pace(limit_nj, budget.watts_window_s, now_s)
    if budget.capacity_j is not None:
        initial_j = budget.capacity_j if budget.initial_j is None else budget.initial_j
        size, initial = (math.ceil(j * NANOJOULES) for j in (budget.capacity_j, initial_j))
        accounts["battery"] = Tank(size, initial, budget.refill, now_s)
    return accounts


def promised(name: Resource, cost: Cost) -> int:
    """What is reserved of a resource for a cost, in its smallest unit.

    Promises are rounded up and steps down, so that steps that add up to a promise fit into it.
    """
    return _whole(name, cost) if scale_of(name) == 1 else math.ceil(cost.energy_j * NANOJOULES)


def booked(name: Resource, cost: Cost) -> int:
    """What a step takes of a resource, in its smallest unit."""
    return _whole(name, cost) if scale_of(name) == 1 else math.floor(cost.energy_j * NANOJOULES)


def _whole(name: Resource, cost: Cost) -> int:
    return cost.flops if name == "flops_per_day" else cost.flash_writes


def scale_of(name: Resource) -> int:
    """Smallest units in one FLOP, write or joule."""
    return 1 if name in ("flops_per_day", "flash_writes_per_day") else NANOJOULES


def balance(name: Resource, account: Account) -> Balance:
    """The books of an account in units that people use."""
    scale = scale_of(name)
    amounts = (account.size, account.left, account.free, account.reserved, account.owed)
    totals = (account.initial, account.refilled, account.wasted, account.spent)
    return Balance(*(amount / scale for amount in (*amounts, *totals)))
