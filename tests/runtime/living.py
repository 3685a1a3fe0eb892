"""A device that lives through a stream of gratings, for tests of the runtime as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.budget import Budget
from sel_edge.core.ledger import LEDGER_FILE, Ledger, LedgerWriter, read_ledger
from sel_edge.core.measurement import Origin
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime.board import Board, Rates
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.tick_report import TickReport
from tests.runtime.conftest import CLASSES, NEW_CLASS, Patterns

TICK_FRAMES = 20
RATES = Rates(flops_per_s=1e9, bytes_per_s=1e9, j_per_flop=1e-9, j_per_byte=0.0)
NOW_S = 1_750_000_000.0


class CountingMeter:
    """One joule more at every reading."""

    origin: Origin = "estimated"
    name = "counter"

    def __init__(self) -> None:
        self._joules = count()

    def read_j(self) -> float:
        return float(next(self._joules))


def counting_board() -> Board:
    """A machine whose every reading is told in advance: one joule, one second more than the last;
    it is always the same moment."""
    seconds = count()
    return Board(
        CountingMeter(), RATES, clock=lambda: NOW_S, stopwatch=lambda: float(next(seconds))
    )


def stream(
    n: int,
    seed: int,
    labels: float,
    names: tuple[str, ...] = CLASSES,
    tilted: bool = False,
    segment: str = "1",
) -> Iterator[FrameBatch]:
    """Frames of which a share carries its label."""
    images, truths = Patterns().draw(n, seed, names, tilted)
    given = np.random.default_rng(seed).random(n) < labels
    for start in range(0, n, TICK_FRAMES):
        part = slice(start, start + TICK_FRAMES)
        shown = tuple(
            name if show else None for name, show in zip(truths[part], given[part], strict=True)
        )
        yield FrameBatch(start, images[part], shown, tuple(truths[part]), segment)


def life(labels: float = 0.3) -> Iterator[FrameBatch]:
    """Nothing happens, then the camera is tilted, then a new class appears."""
    yield from stream(300, 1, labels, segment="1: clean")
    yield from stream(400, 2, labels, tilted=True, segment="2: tilted")
    yield from stream(200, 3, labels, (NEW_CLASS,), segment="3: new class")


class Lived:
    """A state directory with shortcuts."""

    def __init__(
        self,
        path: Path,
        bundle: Bundle,
        config: RuntimeConfig | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.path, self.bundle, self.config, self.budget = path, bundle, config, budget

    @contextmanager
    def runtime(self, board: Board | None = None) -> Iterator[Runtime]:
        """A runtime that is closed afterwards."""
        with (
            LedgerWriter(self.path / LEDGER_FILE) as ledger,
            Runtime(
                self.bundle, ledger, board or counting_board(), self.budget, self.config, threads=1
            ) as runtime,
        ):
            yield runtime

    def run(self, batches: Iterable[FrameBatch]) -> list[TickReport]:
        with self.runtime() as runtime:
            return [runtime.process(batch) for batch in batches]

    @property
    def ledger(self) -> Ledger:
        return read_ledger(self.path / LEDGER_FILE)


def accuracy(runtime: Runtime, names: tuple[str, ...] = CLASSES, tilted: bool = False) -> float:
    """On frames that it has never seen, and learns nothing from."""
    images, truths = Patterns().draw(200, 99, names, tilted)
    return float(np.mean([a == b for a, b in zip(runtime.answers(images), truths, strict=True)]))
