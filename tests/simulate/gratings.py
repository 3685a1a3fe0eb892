"""The small network of the runtime's tests, a world for it on disk, and days in that world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.budget import Budget
from sel_edge.core.ledger import LEDGER_FILE, Ledger, LedgerWriter, read_ledger
from sel_edge.core.solar import ClearSkyDay
from sel_edge.data.stream import open_stream
from sel_edge.energy.profile import load_profile
from sel_edge.runtime.board import Rates
from sel_edge.runtime.loop import Runtime
from sel_edge.simulate.board import SimulatedBoard, Supply, answer_traffic
from sel_edge.simulate.days import Schedule, live
from sel_edge.simulate.diary import Diary
from sel_edge.simulate.world import endless
from tests.runtime.conftest import CLASSES, NEW_CLASS, Network, Patterns, build_bundle

WH = 3600.0
PROFILE = load_profile("pi-zero-2w")
RATES = Rates(PROFILE.flops_per_s, PROFILE.bytes_per_s, PROFILE.j_per_flop, PROFILE.j_per_byte)
PLENTY = Supply(20 * WH, 10 * WH, ClearSkyDay(2.0))


def make_bundle(folder: Path) -> Bundle:
    """The network, in a bundle of its own."""
    return build_bundle(folder / "gratings", Network())


def make_world(folder: Path, clean: int = 200, tilted: int = 300, new: int = 200) -> str:
    """A stream SPEC: nothing happens, the camera is tilted, a new class comes to the others."""
    parts = (
        ("clean", clean, CLASSES, False),
        ("tilted", tilted, CLASSES, True),
        ("new", new, (*CLASSES, NEW_CLASS), False),
    )
    segments = []
    for seed, (name, n, classes, is_tilted) in enumerate(parts, start=1):
        frames, truths = Patterns().draw(n, seed, classes, is_tilted)
        few = slice(4 * len(classes) + 20)
        path = folder / f"{name}.npz"
        names = np.array(truths)
        np.savez(path, x_train=frames[few], y_train=names[few], x_test=frames, y_test=names)
        segments.append(f"npz:{path}:test?labels=0.3&name={name}")
    return "+".join(segments)


@dataclass(frozen=True)
class Lived:
    """Days that are over."""

    diary: Diary
    board: SimulatedBoard
    ledger: Ledger


def make_board(bundle: Bundle, supply: Supply, ambient_celsius: float = 25.0) -> SimulatedBoard:
    """A Pi Zero 2 W."""
    return SimulatedBoard(PROFILE, RATES, supply, ambient_celsius, answer_traffic(bundle))


def live_through(
    state: Path,
    bundle: Bundle,
    world: str,
    supply: Supply = PLENTY,
    limits: Budget | None = None,
    days: float = 2,
    seed: int = 0,
    ambient_celsius: float = 25.0,
) -> Lived:
    """Some days of a Pi Zero 2 W that sees 600 frames a day."""
    board, diary = make_board(bundle, supply, ambient_celsius), Diary()
    limits = limits or Budget(
        capacity_j=supply.capacity_j, initial_j=supply.initial_j, refill=supply.sun
    )
    with LedgerWriter(state / LEDGER_FILE) as ledger:
        frames = endless(open_stream(world), 20, seed)
        for moment in live(
            Schedule(days, 600),
            board,
            lambda: Runtime(bundle, ledger, board.machine, limits, threads=1),
            frames,
        ):
            diary.add(moment)
    return Lived(diary, board, read_ledger(state / LEDGER_FILE))
