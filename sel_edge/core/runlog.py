"""What one pretraining run leaves behind: run.json, history.csv and samples.npz.

`pretrain` writes it, `report` reads it. The first columns of history.csv are the published ones.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.files import write_atomic

SCHEMA = 1
RUN_FILE = "run.json"
HISTORY_FILE = "history.csv"
SAMPLES_FILE = "samples.npz"
FILES = (RUN_FILE, HISTORY_FILE, SAMPLES_FILE)

# What every reader of a run relies on.
NEEDED = ("finished", "recipe", "data", "model", "seed", "init", "device", "precision", "energy")

HistoryRow = dict[str, float | int | str]


@dataclass(frozen=True)
class RunLog:
    """A run as its directory tells it.

    Attributes:
        path: the run directory.
        info: run.json: recipe, data, model, device, machine, versions, totals.
        history: one row per epoch, numbers as floats.
    """

    path: Path
    info: dict[str, Any]
    history: list[HistoryRow]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(self.info["data"]["classes"])


@dataclass(frozen=True)
class Samples:
    """Some test images with what the network said of them.

    Attributes:
        images: uint8 [M, H, W, C].
        labels: int64 [M].
        probabilities: float32 [M, K], rows sum to 1.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def frame_shape(info: Mapping[str, Any]) -> tuple[int, ...]:
    """Of the frames that a run.json tells of: height, width, channels; or channels, length."""
    data = info["data"]
    return tuple(data["signal_shape"] if "signal_shape" in data else data["image_shape"])


def history_columns(classes: Sequence[str], staged: bool) -> list[str]:
    """Column names of history.csv: the published ones first, then ours."""
    totals = ["train_acc", "train_loss", "test_full_acc", "test_100_acc"]
    ours = [
        "executed_flops_T",
        "changed_fraction",
        "energy_j",
        "energy_origin",
        "images",
        "learning_rate_mean",
    ]
    if staged:
        per_class = [f"{part}_{name}" for name in classes for part in ("E", "C", "acc")]
        published = ["epoch", "stage", "stage_name", *totals, "sparsity", "flops_T", "time_s"]
        return [*published, *per_class, *ours]
    published = ["epoch", *totals, "flops_T", "time_s", *(f"acc_{name}" for name in classes)]
    per_class = [f"{part}_{name}" for name in classes for part in ("E", "C")]
    return [*published, *per_class, "sparsity", *ours]


def write_info(path: Path, info: Mapping[str, Any]) -> None:
    """Write run.json atomically."""
    write_atomic(
        path / RUN_FILE,
        json.dumps(info, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n",
    )


def write_history(path: Path, columns: Sequence[str], rows: Sequence[HistoryRow]) -> None:
    """Write history.csv atomically; a class without samples has an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if row[name] != row[name] else row[name] for name in columns})
    write_atomic(path / HISTORY_FILE, text.getvalue().encode())


def write_samples(path: Path, samples: Samples) -> None:
    """Write samples.npz atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=samples.images,
        labels=samples.labels,
        probabilities=samples.probabilities,
    )
    write_atomic(path / SAMPLES_FILE, buffer.getvalue())


def read_run(path: Path) -> RunLog:
    """Read a run directory.

    Raises:
        RunDirectoryError: `path` holds no run, or one that cannot be read.
    """
    try:
        if not (path / RUN_FILE).is_file():
            raise RunDirectoryError(
                f"{path} holds no {RUN_FILE}.",
                "A directory written by `sel-edge pretrain` is expected.",
                "Check the path, or run `sel-edge pretrain --out` first.",
            )
        info = json.loads((path / RUN_FILE).read_text(encoding="utf-8"))
        history = read_history(path / HISTORY_FILE) if (path / HISTORY_FILE).exists() else []
        schema = info["schema"]
        missing = [key for key in NEEDED if key not in info]
        if schema == SCHEMA and missing:
            raise ValueError(f"run.json has no {missing[0]!r}")
        if schema == SCHEMA and not isinstance(info["data"].get("classes"), list):
            raise ValueError("run.json names no classes")
    except (ValueError, KeyError, TypeError, AttributeError, OSError, csv.Error) as error:
        raise RunDirectoryError(
            f"The run log in {path} cannot be read: {error}.",
            "run.json and history.csv as `sel-edge pretrain` writes them are expected.",
            "Restore the directory or pretrain again.",
        ) from error
    if schema != SCHEMA:
        raise RunDirectoryError(
            f"The run in {path} has schema {schema}.",
            f"This version of sel-edge reads schema {SCHEMA}.",
            "Use the version that wrote it, or pretrain again.",
        )
    return RunLog(path, info, history)


def read_history(path: Path) -> list[HistoryRow]:
    """Rows of a history file, published or ours; numbers as floats, empty cells as NaN."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: _number(cell) for key, cell in row.items()} for row in csv.DictReader(file)]


def read_samples(path: Path) -> Samples | None:
    """The samples of a run, or None where it holds none.

    Raises:
        RunDirectoryError: the file is damaged.
    """
    file = path / SAMPLES_FILE
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return Samples(arrays["images"], arrays["labels"], arrays["probabilities"])
    except Exception as error:
        raise RunDirectoryError(
            f"{file} cannot be read: {error}.",
            "Test images with predictions, as `sel-edge pretrain` writes them, are expected.",
            "Delete the file to go on without them, or pretrain again.",
        ) from error


def _number(cell: str) -> float | str:
    if cell == "":
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return cell
