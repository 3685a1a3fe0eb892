"""Progress of a training run: a live bar on a terminal, one line per epoch anywhere else."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sel_edge.core.runlog import HistoryRow
from sel_edge.data.bad_images import BadImages
from sel_edge.pretrain.progress import EpochSums, Position
from sel_edge.pretrain.recipe import Recipe, Stage
from sel_edge.report.wording import printable


class TrainingDisplay:
    """The `Observer` of the training loop, on stderr.

    Args:
        console: where to write.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name, self._staged, self._epochs = "", False, 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("", total=None, numbers="")
        self._rate: tuple[float, int] | None = None

    def __enter__(self) -> TrainingDisplay:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def images_skipped(self, skipped: BadImages) -> None:
        """Say how many, and name the first."""
        self._say(printable(f"Training without {skipped}."))

    def run_started(self, recipe: Recipe) -> None:
        """Its epochs make the remaining time."""
        self._name, self._staged, self._epochs = recipe.name, recipe.staged, recipe.epochs
        self._bar.update(self._task, description=self._name, total=self._epochs)

    def stage_started(self, index: int, stage: Stage, images: int) -> None:
        """Name the stage and its pool."""
        self._bar.update(self._task, description=f"{self._name}: {stage.name}")
        if self._staged:
            self._say(f"{stage.name}: {images:,} frames, {stage.epochs} epochs")

    def step_done(self, position: Position, steps: int, sums: EpochSums) -> None:
        """Move the bar; accuracy and frames per second are of the running epoch."""
        if self._rate is None or sums.images <= self._rate[1]:  # another epoch
            self._rate = (time.perf_counter(), sums.images)
        started, first = self._rate
        rate = (sums.images - first) / max(time.perf_counter() - started, 1e-9)
        self._bar.update(
            self._task,
            completed=position.epoch + position.step / steps,
            numbers=f"train {sums.accuracy:.1%}  {rate:,.0f} frames/s",
        )

    def epoch_done(self, row: HistoryRow) -> None:
        """One line with the epoch's numbers."""
        self._say(
            f"epoch {row['epoch']:>3}/{self._epochs}  train {row['train_acc']:.1%}  "
            f"test {row['test_full_acc']:.1%}  100/class {row['test_100_acc']:.1%}  "
            f"loss {row['train_loss']:.3f}  zeroed {row['sparsity']:.1%}  {row['time_s']:,.0f} s"
        )

    def gate_checked(self, stage: Stage, first_100: float, passed: bool) -> None:
        """PASS or FAIL, as the published run printed it."""
        verdict = "PASS" if passed else "FAIL"
        self._say(f"{stage.name}: {verdict}  {first_100:.1%} against {stage.threshold:.0%}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
