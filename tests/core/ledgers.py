"""Records of a ledger for tests: plausible ones, of which a test changes what it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sel_edge.core.ledger import Balances, Tick, Update
from sel_edge.core.measurement import Energy

TICK = Tick(
    start=0,
    n=10,
    segment="1: clean",
    scores={},
    embarrassment={},
    domains={"0": 10},
    novel=0,
    executed_flops=1000,
    watching_flops=0,
    energy=Energy(0.5, "estimated"),
    seconds=0.1,
)
UPDATE = Update(
    frame=10,
    rung="head",
    domain=0,
    classes=("cat",),
    kept=True,
    frames=0,
    labels=20,
    steps=30,
    held_out=8,
    exact=True,
    held_out_before=1.9,
    held_out_after=0.8,
    anchors_before=0.3,
    anchors_after=0.3,
    predicted_flops=6000,
    predicted_energy_j=0.3,
    predicted_seconds=0.4,
    predicted_gain=0.9,
    executed_flops=5000,
    energy=Energy(0.25, "estimated"),
    seconds=0.2,
    network_before="a" * 64,
    network_after="b" * 64,
    delta_bytes=640,
)
BALANCES = Balances(
    frame=10,
    utc_s=1.7e9,
    celsius=61.5,
    throttled=False,
    balances={"flops_per_day": (5e11, 2e12), "battery": (3600.0, 36000.0)},
)


def tick(start: int = 0, n: int = 10, **changes: Any) -> Tick:
    """A tick of `n` frames, all in the bundle's own domain unless `changes` say otherwise."""
    return replace(TICK, **{"start": start, "n": n, "domains": {"0": n}, **changes})


def update(**changes: Any) -> Update:
    """A kept update of two classifier rows; an unkept one leaves the network as it was."""
    made = replace(UPDATE, **changes)
    if made.kept:
        return made
    return replace(made, network_after=made.network_before, delta_bytes=0)


def stopped(**changes: Any) -> Update:
    """An update that a limit ended before it was judged."""
    undone = {"held_out": 0, "held_out_before": None, "held_out_after": None}
    unknown = {"anchors_before": None, "anchors_after": None}
    return update(kept=False, **{**undone, **unknown, **changes})


def balances(frame: int, **changes: Any) -> Balances:
    """What was left after as many frames."""
    return replace(BALANCES, **{"frame": frame, **changes})
