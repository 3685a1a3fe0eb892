"""Wallets to test with."""

from __future__ import annotations

import json

from sel_edge.core.budget import Budget
from sel_edge.core.solar import DAY_S, ClearSkyDay
from sel_edge.core.wallet import Wallet

EVERYTHING = Budget(
    flops_per_day=1_000,
    energy_j_per_day=100.0,
    watts_mean=1.0,
    watts_window_s=60.0,
    celsius_max=70.0,
    ram_bytes=1_000,
    flash_writes_per_day=10,
    capacity_j=200.0,
    refill=ClearSkyDay(peak_w=0.01),
)
NOON_S = 1_750_000_000 - 1_750_000_000 % DAY_S + DAY_S / 2


def cool(budget: Budget, now_s: float = 0.0) -> Wallet:
    wallet = Wallet(budget, now_s)
    wallet.observe(20.0, False)
    return wallet


def restart(wallet: Wallet, now_s: float) -> Wallet:
    """What a new process makes of what the old one saved."""
    return Wallet.from_state(wallet.budget, json.loads(json.dumps(wallet.to_state())), now_s)
