"""A small stage for the adaptation benchmark: a story of 96 frames and a tiny network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.batches import Normalization
from sel_edge.pretrain.model import ResNet18
from tools.adapt_bench.contestants import Stage
from tools.adapt_bench.stories import Exam, Label, Story
from tools.adapt_bench.subject import Subject
from tools.adapt_bench.torch_tuning import Settings
from tools.adapt_bench.yardstick import Search

NAMES = ("one", "two", "three", "four")
FORWARD_FLOPS = 2_000_000
NORMALIZE = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
SEARCH = Search(
    grid=tuple(Settings(1, rate, False, False) for rate in (0.0, 0.01, 0.02)),
    finalists=1,
    epochs=2,
    kept=2,
)
RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (96, 8, 8, 3), dtype=np.uint8)
TRUTHS = tuple(NAMES[number // 2 % 4] for number in range(96))


def make_network(classes: int = 3) -> ResNet18:
    torch.manual_seed(0)
    return ResNet18(classes, width=8).eval()


def make_stage(seed: int = 0, **story: Any) -> Stage:
    """Three classes that are known, one that is new, and exams at two moments."""
    anchors = Dataset(FRAMES[:12], np.arange(12) % 3, NAMES[:3])
    manifest = SimpleNamespace(
        classes=NAMES[:3], model=SimpleNamespace(forward_macs=FORWARD_FLOPS // 2)
    )
    told = Story(
        name="fog",
        network="ten",
        frames=FRAMES,
        truths=TRUTHS,
        labels=tuple(Label(number, TRUTHS[number], number) for number in range(0, 96, 2)),
        exams=(Exam("new", 48, FRAMES[:20], TRUTHS[:20]), Exam("old", 96, FRAMES, TRUTHS)),
        onset=10,
    )
    subject = Subject(
        Path("run"), "spec", SimpleNamespace(manifest=manifest), make_network(), NORMALIZE, anchors
    )
    return Stage(replace(told, **story), subject, seed)
