"""Live devices with the small network of the runtime's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.board import Board
from sel_edge.serve.live import LiveDevice
from sel_edge.serve.mailbox import Arrival
from sel_edge.serve.residence import Settings
from sel_edge.serve.snapshot import Snapshot
from sel_edge.serve.sources.interface import Rest, Source
from sel_edge.serve.sources.named import open_source
from tests.runtime.conftest import CLASSES, Patterns
from tests.runtime.living import RATES, CountingMeter

WAIT_S = 60.0
"""Nothing in these tests takes so long; it ends those that would wait for ever."""


def board() -> Board:
    """A machine with the real time."""
    return Board(CountingMeter(), RATES)


def settings_for(bundle: Path, state: Path, **others: object) -> Settings:
    usual = {"board": board(), "name": "cellar"}
    return Settings(bundle=bundle, state=state, threads=1, **usual | others)


class Played:
    """A source that plays frames as fast as it can, and then waits."""

    name = "played"
    signal_shape = None

    def __init__(
        self, frames: NDArray[np.uint8], is_patient: bool, labels: list[str] | None = None
    ) -> None:
        self._frames, self.is_patient = frames, is_patient
        self._labels = labels or [None] * len(frames)

    def arrivals(self, rest: Rest) -> Iterator[Arrival | None]:
        for number, (frame, label) in enumerate(zip(self._frames, self._labels, strict=True)):
            yield Arrival(frame, float(number), label)
        while not rest(0.01):
            yield None


@contextmanager
def living(settings: Settings, source: Source | str) -> Iterator[LiveDevice]:
    """A device that is stopped afterwards, in good order."""
    if isinstance(source, str):
        source = open_source(source, settings.state)
    device = LiveDevice(settings, source)
    device.start()
    try:
        yield device
    finally:
        assert device.stop(WAIT_S)
    assert device.unsaved is None


def until(device: LiveDevice, is_so: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot of which something holds."""
    snapshot = device.snapshot()
    for _ in range(600):
        if is_so(snapshot):
            return snapshot
        snapshot = device.newer(snapshot.version, WAIT_S)
    raise AssertionError(f"it never came: {snapshot}")


def pictures(
    n: int, seed: int, names: tuple[str, ...] = CLASSES, tilted: bool = False
) -> tuple[NDArray[np.uint8], list[str]]:
    """Frames of the small network with their true classes."""
    return Patterns().draw(n, seed, names, tilted)
