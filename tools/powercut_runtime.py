"""The whole runtime on a changing stream, killed while it learns, for `tools.powercut`.

Frames come with labels, late labels and answers from a desk; classes that it has never seen keep it
learning. What it told of must be there afterwards, wherever it was killed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.delta import Delta
from sel_edge.core.budget import Budget
from sel_edge.core.errors import SelEdgeError
from sel_edge.core.frames import Frames
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter, read_ledger
from sel_edge.core.measurement import Origin
from sel_edge.core.wallet_file import WALLET_FILE, WalletFile
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime import loop
from sel_edge.runtime.adapter import AdapterSettings
from sel_edge.runtime.board import Board, Rates
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.samples.desk import SAMPLES_FILE, LabelDesk
from sel_edge.runtime.samples.records import SampleSettings
from sel_edge.runtime.samples.store import SampleStore
from sel_edge.runtime.tick_report import TickReport
from tools.powercut_told import Told

BUNDLE = Path(__file__).resolve().parents[1] / "tests" / "frozen" / "bundle-v1"
NEW_CLASSES = ("checker", "stripes", "dots")
TICK_FRAMES = 8
NOW_S = 1_750_000_000.0
BUDGET = Budget(flops_per_day=10**15, energy_j_per_day=1e12, flash_writes_per_day=10**9)
"""Never in the way; what is left of it tells what was spent."""
CONFIG = RuntimeConfig(
    patience_ticks=1,
    cool_down_frames=0,
    fold_block_frames=2,
    restored_labels=32,
    adapter=AdapterSettings(steps=10),
)
MOST_FRAMES = 1500
"""After them the device is set up anew, before the store lets go of the first labels."""


class RuntimeJob:
    """A device in a directory, and what it has told of.

    Args:
        directory: of the state; empty at first.
    """

    longest_s = 0.4
    """Some ticks and an update fit into it."""
    settings = SampleSettings(flush_s=0.0)
    """What a tick brought is written at its end, so that it may be told of."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._bundle = directory / "state", open_bundle(BUNDLE)
        self._told = Told(bundle_network(self._bundle).hash)

    def work(self, seed: int, tell: Callable[[str], None]) -> None:
        """Live for ever; a word after whatever is durable, and before a network is committed."""
        rng = np.random.default_rng(seed)
        if seed % 2:
            tell("start")  # so that it may be killed while it opens
        with self._runtime() as runtime:
            commit = runtime._slots.commit

            def told(network: Network, frame: int) -> Delta:
                tell(f"commit {network.hash}")
                return commit(network, frame)

            vars(runtime._slots)["commit"] = told
            if not seed % 2:
                tell("start")
            tell(f"use {runtime.network.hash}")
            while True:
                self._live(runtime, rng, tell)

    def check(self, told: list[str]) -> list[str]:
        """Whether everything that was told is there, and the device goes on.

        Now and then a person goes back to the bundle's network, and every so many frames the device
        is set up anew.
        """
        try:
            problems = self._told.hear(told)
            with self._runtime() as runtime:
                problems += self._missing(runtime)
                problems += self._told.wrong_network(runtime.network.hash, runtime.notes)
                choice = len(told) % 5
                if choice < 2:
                    runtime._slots.rollback("bundle")
                elif choice < 4:
                    runtime._slots.confirm()
                slots = runtime._slots
                self._told.left_with(slots.current().hash, slots.pending)
        except SelEdgeError as error:
            return [str(error)]
        if self._told.frames > MOST_FRAMES:
            shutil.rmtree(self._directory)
            self._told = Told(bundle_network(self._bundle).hash)
        return problems

    @contextmanager
    def _runtime(self) -> Iterator[Runtime]:
        vars(loop)["SampleStore"] = partial(SampleStore, settings=self.settings)
        with (
            LedgerWriter(self._directory / LEDGER_FILE) as ledger,
            Runtime(self._bundle, ledger, _board(), BUDGET, CONFIG, threads=1) as runtime,
        ):
            yield runtime

    def _live(
        self, runtime: Runtime, rng: np.random.Generator, tell: Callable[[str], None]
    ) -> None:
        """A tick, and perhaps a label that comes late, or an answer at a desk."""
        frames, names = self._frames(rng)
        labels = [name if rng.random() < 0.7 else None for name in names]
        batch = FrameBatch(0, frames, tuple(labels), tuple(names), "some")
        first = _tell_tick(runtime.process(batch), runtime, labels, tell)
        without = [number for number, label in enumerate(labels) if label is None]
        if not without:
            return
        number = int(rng.choice(without))
        if rng.random() < 0.3:
            runtime.label(first + number, names[number])
            self._quiet(runtime, rng, tell, {first + number: names[number]})
        elif rng.random() < 0.5:
            with LabelDesk(self._directory / SAMPLES_FILE) as desk:
                answer = desk.answer(f"f{first + number}", names[number])
            tell(f"answer {answer.id} {names[number]}")

    def _quiet(
        self,
        runtime: Runtime,
        rng: np.random.Generator,
        tell: Callable[[str], None],
        late: dict[int, str],
    ) -> None:
        """A tick without labels, at whose end the late ones are written."""
        frames, names = self._frames(rng)
        batch = FrameBatch(0, frames, (None,) * len(names), tuple(names), "quiet")
        _tell_tick(runtime.process(batch), runtime, (), tell)
        for number, name in late.items():
            tell(f"label {number} {name}")

    def _frames(self, rng: np.random.Generator) -> tuple[Frames, list[str]]:
        """Frames of the bundle's classes, or of one that it does not know."""
        anchors = self._bundle.anchors()
        if rng.random() < 0.4:
            chosen = rng.integers(0, len(anchors.frames), TICK_FRAMES)
            classes = self._bundle.manifest.classes
            return anchors.frames[chosen], [classes[int(n)] for n in anchors.labels[chosen]]
        name = str(rng.choice(NEW_CLASSES))
        side = anchors.frames.shape[1]
        return _pattern(name, side, rng), [name] * TICK_FRAMES

    def _missing(self, runtime: Runtime) -> list[str]:
        """What was told and is not there."""
        wallet = WalletFile(self._directory / WALLET_FILE, BUDGET, NOW_S).wallet
        labelled = {sample.number: sample.label for sample in runtime._store.labelled()}
        with LabelDesk(self._directory / SAMPLES_FILE) as desk:
            return [
                *self._told.missing_rows(read_ledger(self._directory / LEDGER_FILE)),
                *self._told.wrong_record(runtime._ledger.current_network()),
                *self._told.missing_labels(labelled, desk),
                *self._told.too_full({k: one.left for k, one in wallet.balances().items()}),
            ]


class _Meter:
    """A joule more at every reading."""

    origin: Origin = "estimated"
    name = "counter"

    def __init__(self) -> None:
        self._joules = 0.0

    def read_j(self) -> float:
        self._joules += 1.0
        return self._joules


def _board() -> Board:
    rates = Rates(flops_per_s=1e9, bytes_per_s=1e9, j_per_flop=1e-3, j_per_byte=0.0)
    return Board(_Meter(), rates, clock=lambda: NOW_S)


def _tell_tick(
    report: TickReport, runtime: Runtime, labels: Any, tell: Callable[[str], None]
) -> int:
    """Tell of everything that a tick has made durable; the number of its first frame."""
    balances = runtime.balances()
    content = {
        "start": report.tick.start,
        "n": report.tick.n,
        "decisions": [decision.reason for decision in report.decisions],
        "updates": [[update.kept, update.network_after] for update in report.updates],
        "labels": {report.tick.start + n: name for n, name in enumerate(labels) if name},
        "network": runtime.network.hash,
        "left": {name: balance.left for name, balance in balances.items()},
    }
    tell(f"tick {json.dumps(content)}")
    return report.tick.start


def _pattern(name: str, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Frames that look alike, each with a noise of its own."""
    y, x = np.mgrid[0:side, 0:side]
    phase = rng.integers(0, 4, (TICK_FRAMES, 2, 1, 1))
    y, x = y + phase[:, 0], x + phase[:, 1]
    pattern = {
        "checker": (x // 2 + y // 2) % 2,
        "stripes": (x % 2) * np.ones_like(y),
        "dots": (x % 3 == 0) & (y % 3 == 0),
    }[name]
    noise = rng.normal(0, 10, pattern.shape)
    images: NDArray[np.uint8] = np.clip(60 + 140 * pattern + noise, 0, 255).astype(np.uint8)
    return images[..., None]
