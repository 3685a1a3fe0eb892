"""Run directories and ledgers as pretrain and runtime leave them, in miniature."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sel_edge.core.ledger import (
    ClassEmbarrassment,
    Decision,
    Evaluation,
    LedgerWriter,
    Session,
)
from sel_edge.core.runlog import Samples, history_columns, write_history, write_info, write_samples
from tests.core import ledgers

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1}{$ | `x` *y* _z_",
    "_underscore",
    "\u202e\x1b[31mred\x00 猫🐈 --> ]]> & {{ 7*7 }} {% raw %}",
)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a pretraining run below tmp_path and returns its directory."""

    def make(
        name: str,
        staged: bool,
        classes: Sequence[str] = ("cat", "dog", "ship"),
        epochs: int = 4,
        executed_per_epoch_T: float = 2.0,  # noqa: N803 - tera
        origin: str = "estimated",
        samples: bool = True,
        **info: Any,
    ) -> Path:
        path = tmp_path / name
        columns = history_columns(classes, staged)
        rows = []
        for epoch in range(1, epochs + 1):
            row: dict[str, float | int | str] = dict.fromkeys(columns, 0.9 * epoch / epochs)
            row |= {"epoch": epoch, "flops_T": 0.01 * epoch if staged else 1.0 * epoch}
            row |= {"time_s": 10.0 * epoch, "energy_j": 3.0 * epoch, "energy_origin": origin}
            row |= {"executed_flops_T": executed_per_epoch_T * epoch, "sparsity": 0.97 * staged}
            row |= {f"E_{c}": 2.0 / epoch for c in classes}
            row |= {f"acc_{c}": 0.5 + 0.4 * i / len(classes) for i, c in enumerate(classes)}
            row |= (
                {"stage": (epoch + 1) // 2, "stage_name": f"Stage {(epoch + 1) // 2}"}
                if staged
                else {}
            )
            rows.append(row)
        path.mkdir()
        data = {
            "spec": "digits",
            "sha256": "0" * 64,
            "note": "",
            "classes": list(classes),
            "n_test": 300,
            "holdout": 0,
        }
        written: dict[str, Any] = {
            "schema": 1,
            "recipe": {"name": "sel-paper" if staged else "dense"},
            "data": data,
            "model": {"name": "resnet18", "width": 8, "parameters": 176_000},
            "seed": 0,
            "init": "scratch",
            "device": "cpu",
            "precision": "fp32",
            "energy": {"meter": "profile:generic-x86", "origin": origin},
            "finished": True,
        }
        write_info(path, written | info)
        write_history(path, columns, rows)
        if samples:
            rng = np.random.default_rng(0)
            images = rng.integers(0, 256, (4 * len(classes), 8, 8, 1), dtype=np.uint8)
            labels = np.repeat(np.arange(len(classes)), 4)
            odds = rng.dirichlet(np.ones(len(classes)), len(labels)).astype(np.float32)
            write_samples(path, Samples(images, labels, odds))
        return path

    return make


@pytest.fixture
def make_ledger(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a ledger below tmp_path and returns its directory."""

    def make(
        name: str = "edge",
        classes: Sequence[str] = ("cat", "dog"),
        segments: Sequence[str] = ("1: a", "2: b"),
        session: Session | None = None,
    ) -> Path:
        with LedgerWriter(tmp_path / name / "ledger.sqlite") as ledger:
            ledger.identify("bundle", "f" * 64)
            if session is not None:
                ledger.record_session(session)
            for index, segment in enumerate(segments):
                for step in range(5):
                    start = 40 * (5 * index + step)
                    windows = {
                        c: ClassEmbarrassment(None if step % 2 else 0.5 * index, 0.4, 3)
                        for c in classes
                    }
                    scores = dict.fromkeys(classes, (20, 18 - 8 * index + step))
                    tick = ledgers.tick(
                        start, 40, segment=segment, scores=scores, embarrassment=windows
                    )
                    decisions, updates = [], []
                    if index and step in (1, 3):
                        kept, frame = step == 3, start + 40
                        decisions = [
                            Decision(
                                frame, "fire", f"{classes[0]}: E 1.9, was 0.4", tuple(classes)
                            ),
                            Decision(
                                frame, "keep" if kept else "reject", "held out", tuple(classes)
                            ),
                        ]
                        updates = [ledgers.update(frame=frame, classes=tuple(classes), kept=kept)]
                    ledger.record(tick, decisions, updates)
            for moment, correct in (("before", 61), ("after", 78)):
                ledger.record_evaluation(Evaluation(moment, "shifted", 100, correct))
        return tmp_path / name

    return make


@pytest.fixture
def published() -> Path:
    """The published histories, beside the shared data sets."""
    root = Path(__file__).parents[2]
    data = Path(os.environ.get("SEL_EDGE_TEST_DATA", root / "../shared/data"))
    seed = data.parent / "seed"
    if not (seed / "staged_hist.csv").is_file():
        pytest.skip("no published histories: SEL_EDGE_TEST_DATA has no seed directory beside it")
    return seed


@pytest.fixture
def hostile() -> tuple[str, ...]:
    """Class names that try to break out of HTML, SVG, Markdown, TeX and terminals."""
    return HOSTILE
