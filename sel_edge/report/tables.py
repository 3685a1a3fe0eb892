"""The two tables of a comparison: one row per system, one row per class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sel_edge.report import wording
from sel_edge.report.system import TERA, System

FEW_IMAGES = 100


@dataclass(frozen=True)
class SystemRow:
    """What one system reached and spent; None where it was not recorded.

    Attributes:
        test_full_acc: accuracy on the whole test set, 0..1.
        test_100_acc: accuracy on the first 100 test images of each class, 0..1.
        paper_flops: 2 * parameters * (1 - sparsity) * samples, as published.
        executed_flops: forward and backward operations that were really computed.
        time_s: training with its evaluations, seconds.
        energy_j: joules of `energy_origin`, "measured" or "estimated".
    """

    system: str
    epochs: int
    test_full_acc: float | None
    test_100_acc: float | None
    paper_flops: float | None
    executed_flops: float | None
    time_s: float | None
    energy_j: float | None
    energy_origin: str | None


@dataclass(frozen=True)
class Savings:
    """SEL against dense.

    Attributes:
        test_full_acc, test_100_acc: SEL minus dense, in shares of 1; negative is a loss.
        paper_flops, executed_flops, time, energy: 1 - SEL / dense; negative where SEL spent more.
            Energy is None where one side was measured and the other estimated.
        epochs: SEL minus dense.
    """

    test_full_acc: float | None
    test_100_acc: float | None
    paper_flops: float | None
    executed_flops: float | None
    time: float | None
    energy: float | None
    epochs: int


@dataclass(frozen=True)
class ClassRow:
    """One class after the last epoch, on its first 100 test images; accuracies 0..1."""

    name: str
    dense_acc: float | None
    sel_acc: float | None
    difference: float | None
    note: str


def system_row(system: System) -> SystemRow:
    """The system's row after its last epoch."""
    origin = system.energy_origin
    return SystemRow(
        system=system.label,
        epochs=system.epochs,
        test_full_acc=system.last("test_full_acc"),
        test_100_acc=system.last("test_100_acc"),
        paper_flops=_tera(system.last("flops_T")),
        executed_flops=_tera(system.last("executed_flops_T")),
        time_s=system.last("time_s"),
        energy_j=system.last("energy_j") if origin else None,
        energy_origin=origin,
    )


def savings(dense: SystemRow, sel: SystemRow) -> Savings:
    """What SEL saved against dense, and what it cost."""
    same_origin = dense.energy_origin == sel.energy_origin
    return Savings(
        test_full_acc=_minus(sel.test_full_acc, dense.test_full_acc),
        test_100_acc=_minus(sel.test_100_acc, dense.test_100_acc),
        paper_flops=_saved(dense.paper_flops, sel.paper_flops),
        executed_flops=_saved(dense.executed_flops, sel.executed_flops),
        time=_saved(dense.time_s, sel.time_s),
        energy=_saved(dense.energy_j, sel.energy_j) if same_origin else None,
        epochs=sel.epochs - dense.epochs,
    )


def class_rows(dense: System, sel: System, images_per_class: int) -> list[ClassRow]:
    """One row per class of `sel`, in label order.

    Args:
        images_per_class: how many test images each accuracy was taken over, at least 1; what
            differences chance alone makes depends on it.
    """
    pairs = [(name, dense.last(f"acc_{name}"), sel.last(f"acc_{name}")) for name in sel.classes]
    differences = [_minus(theirs, ours) for _, ours, theirs in pairs]
    known = [difference for difference in differences if difference is not None]
    weakest = min((acc for _, _, acc in pairs if acc is not None), default=None)
    rows = []
    for (name, dense_acc, sel_acc), difference in zip(pairs, differences, strict=True):
        notes = []
        if difference is not None and dense_acc is not None and sel_acc is not None:
            if difference == min(known) < 0:
                notes.append("largest loss")
            if difference == max(known) > 0:
                notes.append("largest gain")
            if sel_acc == weakest:
                notes.append("hardest class for SEL")
            if abs(difference) <= _chance(dense_acc, sel_acc, images_per_class):
                notes.append("within chance")
        text = ", ".join(notes)
        rows.append(ClassRow(name, dense_acc, sel_acc, difference, text[:1].upper() + text[1:]))
    return rows


SYSTEM_HEADER = (
    "System",
    "Full test accuracy",
    "100/class accuracy",
    "Paper FLOPs",
    "Executed FLOPs",
    "Time",
    "Energy",
    "Epochs",
)
WORDS = ("System", "Class", "Notes")
CLASS_HEADER = ("Class", "Dense (100/class)", "SEL (100/class)", "Difference", "Notes")


def system_cells(row: SystemRow) -> tuple[str, ...]:
    """The row as text, one cell per column of SYSTEM_HEADER."""
    return (
        row.system,
        wording.percent(row.test_full_acc),
        wording.percent(row.test_100_acc),
        wording.scaled(row.paper_flops, "FLOP"),
        wording.scaled(row.executed_flops, "FLOP"),
        wording.duration(row.time_s),
        wording.energy(row.energy_j, row.energy_origin),
        str(row.epochs),
    )


def savings_cells(row: Savings) -> tuple[str, ...]:
    """The row as text, one cell per column of SYSTEM_HEADER."""
    return (
        "SEL against dense",
        wording.points(row.test_full_acc),
        wording.points(row.test_100_acc),
        wording.saved(row.paper_flops, "fewer"),
        wording.saved(row.executed_flops, "fewer"),
        wording.saved(row.time),
        wording.saved(row.energy),
        wording.signed(f"{row.epochs:+d}") if row.epochs else "the same",
    )


def class_cells(row: ClassRow) -> tuple[str, ...]:
    """The row as text, one cell per column of CLASS_HEADER."""
    return (
        row.name,
        wording.percent(row.dense_acc, 0),
        wording.percent(row.sel_acc, 0),
        wording.points(row.difference),
        row.note,
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose cells show exactly the given text; all but words align right."""
    sides = ["---" if name in WORDS else "---:" for name in header]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(sides) + "|"]
    lines += ["| " + " | ".join(wording.markdown(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _chance(p: float, q: float, n: int) -> float:
    """Two standard errors of the difference of two shares over n images each."""
    return 2 * math.sqrt((p * (1 - p) + q * (1 - q)) / n)


def _tera(value: float | None) -> float | None:
    return None if value is None else value * TERA


def _minus(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs


def _saved(dense: float | None, sel: float | None) -> float | None:
    return None if not dense or sel is None else 1 - sel / dense
