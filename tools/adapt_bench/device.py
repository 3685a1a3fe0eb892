"""The device's side: the runtime as it is deployed, told a story frame by frame."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from sel_edge.core.budget import Budget
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter
from sel_edge.data.stream import FrameBatch
from sel_edge.energy.meter import EstimatedMeter
from sel_edge.energy.profile import load_profile
from sel_edge.runtime.board import Board, Rates
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.tick_report import TickReport
from tools.adapt_bench.contestants import BACKWARD, Stage
from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.stories import Label

TICK_FRAMES = 16
PROFILE = "generic-x86"
SHORTEST_EPOCHS = 5
WATCHING_SHARE = 0.003
"""Of an inference, what watching a frame may take."""


class Told:
    """One way of a runtime through one story.

    Args:
        stage: the story and the network.
        config: of the runtime.
        state: an empty directory.
        budget: of the runtime.
    """

    def __init__(self, stage: Stage, config: RuntimeConfig, state: Path, budget: Budget) -> None:
        self._stage, self._story = stage, stage.story
        profile = load_profile(PROFILE)
        rates = Rates(
            profile.flops_per_s, profile.bytes_per_s, profile.j_per_flop, profile.j_per_byte
        )
        board = Board(EstimatedMeter(profile), rates)
        self._ledger = LedgerWriter(state / LEDGER_FILE)
        self._runtime = Runtime(stage.subject.bundle, self._ledger, board, budget, config)
        self._exams: dict[str, float] = {}
        self._right: list[bool] = []
        self._reports: list[TickReport] = []
        self._wall_s = 0.0

    def outcome(self) -> Outcome:
        """Tell the story, hold its exams, and add up what it took."""
        with self._ledger, self._runtime:
            self._tell()
        updates = [update for report in self._reports for update in report.updates]
        ticks = [report.tick for report in self._reports]
        watching = sum(tick.watching_flops for tick in ticks)
        adapting = sum(update.executed_flops for update in updates)
        return Outcome(
            exams=self._exams,
            flops=float(watching + adapting),
            wall_s=self._wall_s,
            energy_j=sum(update.energy.joules for update in updates),
            delta_bytes=sum(update.delta_bytes for update in updates),
            triggers=len(updates),
            right=self._right,
            notes={
                "watching_flops": watching,
                "kept": sum(update.kept for update in updates),
                "decisions": [
                    f"{decision.frame} {decision.kind}: {decision.reason}"
                    for report in self._reports
                    for decision in report.decisions
                ],
                "updates": [
                    f"{u.frame} {u.rung} domain {u.domain} kept {u.kept} "
                    f"{u.executed_flops / self._stage.subject.forward_flops:.1f} forward passes"
                    for u in updates
                ],
            },
        )

    def _tell(self) -> None:
        story, at_once, late = self._story, {}, defaultdict(list)
        for label in story.labels:
            if label.arrives == label.frame:
                at_once[label.frame] = label.name
            else:
                late[label.arrives // TICK_FRAMES].append(label)
        due = sorted(story.exams, key=lambda exam: exam.after)
        for start in range(0, len(story.frames), TICK_FRAMES):
            frames = story.frames[start : start + TICK_FRAMES]
            numbers = range(start, start + len(frames))
            truths = story.truths[start : start + TICK_FRAMES]
            labels = tuple(at_once.get(number) for number in numbers)
            batch = FrameBatch(start, frames, labels, truths, "")
            self._process(batch, late[start // TICK_FRAMES])
            while due and due[0].after <= start + TICK_FRAMES:
                exam = due.pop(0)
                answers = self._runtime.answers(exam.frames)
                right = np.array(answers) == np.array(exam.truths)
                self._exams[exam.name] = float(right.mean())

    def _process(self, batch: FrameBatch, late: list[Label]) -> None:
        begun = time.perf_counter()
        report = self._runtime.process(batch)
        for label in late:
            self._runtime.label(label.frame, label.name)
        self._wall_s += time.perf_counter() - begun - report.inference_s
        self._reports.append(report)
        pairs = zip(report.predictions, batch.truths, strict=True)
        self._right += [prediction == truth for prediction, truth in pairs]


def budget_of(stage: Stage) -> Budget:
    """What the device may spend on a story: a hundredth of the shortest full fine-tuning there is,
    less what watching takes; so it never spends more, whatever the best full fine-tuning is."""
    samples = len(stage.story.labels) + len(stage.subject.anchors.frames)
    shortest = SHORTEST_EPOCHS * samples * BACKWARD * stage.subject.forward_flops
    watching = WATCHING_SHARE * len(stage.story.frames) * stage.subject.forward_flops
    return Budget(flops_per_day=int(max(shortest / 100 - watching, shortest / 200)))


def run(config: RuntimeConfig) -> Callable[[Stage], Outcome]:
    """The runtime with some settings, as a contestant."""

    def contestant(stage: Stage) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="sel-edge-") as folder:
            return Told(stage, config, Path(folder), budget_of(stage)).outcome()

    return contestant


DEVICE: Mapping[str, Callable[[Stage], Outcome]] = {
    "device": run(RuntimeConfig()),
    "norm_alone": run(RuntimeConfig(rungs=("norm",))),
    "head_alone": run(RuntimeConfig(rungs=("head",))),
}
"""Name -> contestant, the device's side."""
