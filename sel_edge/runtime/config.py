"""Every setting of the runtime, with its unit and the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass, field

from sel_edge.core.errors import ConfigError
from sel_edge.runtime.adapter import AdapterSettings
from sel_edge.runtime.guard import Tolerance


@dataclass(frozen=True)
class RuntimeConfig:
    """Settings of the runtime; the defaults suit streams of thousands of frames.

    Attributes:
        window_labels: labels per class in the reported window of exact embarrassment.
        window_frames: unlabelled frames per class in the reported window of the stand-in.
        slack: standard deviations that every sample may lie above normal before it counts.
        on: accumulated standard deviations at which the trigger fires.
        off: score under which a subject that fired is armed again.
        patience_ticks: ticks in a row that a score must stay above `on`.
        cool_down_frames: frames after an update during which none is started.
        min_labels: labels that an unlabelled alarm needs beside it, lest it ask for more.
        new_class_labels: labels of an unknown name that make it a class.
        held_out_every: one of so many labels of a class is kept for the guard, never trained on.
        memory_samples: labelled features kept for training, and as many again at most held out.
        adapter: how an update descends.
        tolerance: what all updates together may cost on the guard's anchors.
    """

    window_labels: int = 40
    window_frames: int = 200
    slack: float = 0.35
    on: float = 20.0
    off: float = 5.0
    patience_ticks: int = 2
    cool_down_frames: int = 50
    min_labels: int = 8
    new_class_labels: int = 5
    held_out_every: int = 4
    memory_samples: int = 1024
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    tolerance: Tolerance = field(default_factory=Tolerance)

    def __post_init__(self) -> None:
        counts = (
            *(self.window_labels, self.window_frames, self.patience_ticks, self.min_labels),
            *(self.new_class_labels, self.memory_samples, *self.adapter.steps),
        )
        steps, adapter, tolerance = self.adapter.steps, self.adapter, self.tolerance
        rules = {
            "0 <= off < on": 0 <= self.off < self.on,
            "slack >= 0": self.slack >= 0,
            "held_out_every >= 2": self.held_out_every >= 2,
            "cool_down_frames >= 0": self.cool_down_frames >= 0,
            "counts are at least 1": min(counts) >= 1,
            "adapter.steps rise": len(steps) > 0 and list(steps) == sorted(set(steps)),
            "0 <= adapter.momentum < 1": 0 <= adapter.momentum < 1,
            "adapter.hold and adapter.pull >= 0": min(adapter.hold, adapter.pull) >= 0,
            "tolerances >= 0": min(tolerance.embarrassment, tolerance.accuracy) >= 0,
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError(
                    f"The runtime settings break the rule '{rule}'.",
                    "Settings within their documented ranges are expected.",
                    "Correct the setting, or leave it out to use its default.",
                )
