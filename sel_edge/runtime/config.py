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
        rungs: that may be used, of those that a bundle has. Those above `head` are climbed one by
            one, in domains other than the bundle's own.
        window_labels: labels per class in the reported window of exact embarrassment.
        window_frames: unlabelled frames per class in the reported window of the stand-in.
        window_age_frames: age at which a value leaves its window, so that an exact embarrassment
            of long ago does not hide the stand-in of now.
        slack: standard deviations that every sample may lie above normal before it counts.
        on: accumulated standard deviations at which the trigger fires.
        off: score under which evidence counts as weak: no signal, and no suspicion of one class
            when another fires. A kept update leaves half of it.
        patience_ticks: ticks in a row that a score must stay above `on`.
        cool_down_frames: frames after an update during which none is started.
        unknown_classes: names of classes never learned that are followed at once; one more, and
            the one unheard of for longest is forgotten with its labels.
        min_labels: labels that an unlabelled alarm needs beside it, lest it ask for more.
        new_class_labels: labels of an unknown name that make it a class.
        fold_block_frames: frames whose labels prove together and never teach one another; long
            enough that frames this far apart are no near duplicates.
        memory_samples: labelled features kept of each domain.
        remembered_frames: newest frames that are kept in memory, to learn a domain from them.
        remembered_bytes: memory that their pixels may take, and once more what the network saw in
            them and in labelled frames on its way, where layers are to be trained from it.
        lenses: whether a domain's frames may be filtered before the network sees them; not where
            the network is to run on a machine that cannot do that.
        restored_labels: labelled frames of earlier sessions that are looked at again at the start.
        adapter: how an update descends.
        tolerance: what all updates together may cost on the guard's anchors.
    """

    rungs: tuple[str, ...] = ("norm", "head")
    window_labels: int = 40
    window_frames: int = 200
    window_age_frames: int = 500
    slack: float = 0.35
    on: float = 20.0
    off: float = 5.0
    patience_ticks: int = 2
    cool_down_frames: int = 50
    min_labels: int = 8
    new_class_labels: int = 5
    unknown_classes: int = 64
    fold_block_frames: int = 16
    memory_samples: int = 1024
    remembered_frames: int = 1024
    remembered_bytes: int = 32 * 2**20
    lenses: bool = True
    restored_labels: int = 512
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    tolerance: Tolerance = field(default_factory=Tolerance)

    def __post_init__(self) -> None:
        counts = (
            *(self.window_labels, self.window_frames, self.window_age_frames),
            *(self.patience_ticks, self.min_labels, self.new_class_labels, self.unknown_classes),
            *(self.fold_block_frames, self.memory_samples, self.adapter.steps),
            *(self.remembered_frames, self.remembered_bytes),
        )
        adapter, tolerance = self.adapter, self.tolerance
        rules = {
            "0 <= off < on": 0 <= self.off < self.on,
            "slack >= 0": self.slack >= 0,
            "cool_down_frames >= 0": self.cool_down_frames >= 0,
            "counts are at least 1": min(counts) >= 1,
            "rungs are climbed from head": "head" in self.rungs or {*self.rungs} <= {"norm"},
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
