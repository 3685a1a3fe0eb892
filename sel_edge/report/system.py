"""One training run as the tables and plots see it: a label, its classes and its epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.core.runlog import HistoryRow, RunLog, read_history

TERA = 1e12
REFERENCE_FILES = {"dense": "baseline_hist.csv", "sel": "staged_hist.csv"}


@dataclass(frozen=True)
class System:
    """A run to be compared.

    Attributes:
        label: what tables and legends call it.
        classes: class names in label order.
        history: one row per epoch, at least one.
        info: run.json; empty for a published history.
    """

    label: str
    classes: tuple[str, ...]
    history: Sequence[HistoryRow]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """How many epochs were run."""
        return len(self.history)

    def column(self, name: str) -> NDArray[np.float64]:
        """One column over the epochs, float64 [epochs]; NaN where it has no number."""
        cells = (row.get(name) for row in self.history)
        return np.array([cell if isinstance(cell, float | int) else np.nan for cell in cells])

    def has(self, name: str) -> bool:
        """Whether the column holds at least one number."""
        return bool(np.isfinite(self.column(name)).any())

    def last(self, name: str) -> float | None:
        """The column's number after the last epoch, or None."""
        value = float(self.column(name)[-1])
        return value if math.isfinite(value) else None

    @property
    def energy_origin(self) -> str | None:
        """ "measured" or "estimated", or None where no joules were recorded."""
        origin = self.history[-1].get("energy_origin")
        return origin if origin in ("measured", "estimated") else None

    @property
    def is_staged(self) -> bool:
        """Whether the run followed a curriculum of stages."""
        return "stage" in self.history[0]

    def stages(self) -> list[tuple[int, int, str]]:
        """(first epoch, last epoch, name) of every stage, counted from 1; [] without stages."""
        spans: list[tuple[int, int, str]] = []
        if not self.is_staged:
            return spans
        for index, row in enumerate(self.history, start=1):
            name = str(row.get("stage_name", row["stage"]))
            if spans and spans[-1][2] == name:
                spans[-1] = (spans[-1][0], index, name)
            else:
                spans.append((index, index, name))
        return spans


@dataclass(frozen=True)
class Reference:
    """The published histories that may lie under ours."""

    dense: System
    sel: System


def system_of(run: RunLog, label: str) -> System:
    """The run as a System.

    Raises:
        DataError: not one epoch was finished.
    """
    if not run.history:
        raise DataError(
            f"The run in {run.path} has not finished an epoch.",
            "A history of at least one epoch is expected.",
            "Continue it with `sel-edge pretrain --resume` and compare again.",
        )
    return System(label, run.classes, run.history, run.info)


def read_reference(directory: Path) -> Reference:
    """Read baseline_hist.csv and staged_hist.csv.

    Raises:
        DataError: a file is missing, or is no training history.
    """
    return Reference(
        _read_published(directory / REFERENCE_FILES["dense"], "published dense"),
        _read_published(directory / REFERENCE_FILES["sel"], "published SEL"),
    )


def _read_published(path: Path, label: str) -> System:
    try:
        history = read_history(path)
        missing = {"train_acc", "test_full_acc", "flops_T", "time_s"} - set(history[0])
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise _bad_reference(path, str(error) or "no rows") from error
    if missing:
        raise _bad_reference(path, "it lacks the columns " + ", ".join(sorted(missing)))
    classes = tuple(name.removeprefix("acc_") for name in history[0] if name.startswith("acc_"))
    return System(label, classes, history)


def _bad_reference(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} cannot be used as a published history: {reason}.",
        "The reference directory must hold baseline_hist.csv and staged_hist.csv, one row per "
        "epoch with train_acc, test_full_acc, flops_T and time_s.",
        "Check the --reference path, or compare without it.",
    )
