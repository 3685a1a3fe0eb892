"""The row that an epoch leaves in history.csv."""

from __future__ import annotations

from sel_edge.core.runlog import HistoryRow
from sel_edge.pretrain.evaluate import Accuracy
from sel_edge.pretrain.recipe import Stage
from sel_edge.pretrain.state import Setup, TrainState


def history_row(setup: Setup, state: TrainState, stage: Stage, reached: Accuracy) -> HistoryRow:
    """What an epoch did and reached; its sums are those of all processes, and it is counted."""
    spent, sums = state.spent, state.sums
    assert sums is not None  # noqa: S101 - an epoch has just run
    embarrassment, confidence = sums.class_means()
    row: HistoryRow = {
        "epoch": state.position.epoch,
        "stage": state.position.stage + 1,
        "stage_name": stage.name,
        "train_acc": sums.accuracy,
        "train_loss": sums.loss,
        "test_full_acc": reached.full,
        "test_100_acc": reached.first_100,
        "sparsity": sums.sparsity,
        "flops_T": spent.paper_flops / 1e12,
        "time_s": spent.seconds,
        "executed_flops_T": spent.executed_flops / 1e12,
        "changed_fraction": sums.changed,
        "energy_j": spent.joules,
        "energy_origin": setup.meter.origin,
        "images": spent.images,
        "learning_rate_mean": sums.learning_rate / sums.steps,
    }
    for index, name in enumerate(setup.train.data.classes):
        row[f"E_{name}"] = float(embarrassment[index])
        row[f"C_{name}"] = float(confidence[index])
        row[f"acc_{name}"] = reached.per_class[index]
    return row
