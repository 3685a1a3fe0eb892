"""What a ledger is made of: ticks, decisions, updates and the rest, as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sel_edge.core.measurement import Energy, Origin

DecisionKind = Literal["fire", "wants_labels", "keep", "reject", "defer", "stop", "rollback"]

Level = tuple[float, float, float]
"""Embarrassment in nats: the mean, the standard deviation of single samples, and the standard
error of the mean."""


@dataclass(frozen=True)
class ClassEmbarrassment:
    """How embarrassed the network was by one class, over its sliding windows.

    Attributes:
        exact: mean cross-entropy at T = 1.5 of the labelled frames, in nats; None without labels.
        standin: the calibrated estimate over unlabelled frames taken for this class; None if none.
        labels: how many labels `exact` rests on.
    """

    exact: float | None
    standin: float | None
    labels: int


@dataclass(frozen=True)
class Tick:
    """One batch of frames.

    Attributes:
        start: number of the first frame, counted since the ledger began.
        n: frames in the batch.
        segment: which part of the stream they come from.
        scores: class -> (frames, correctly named frames), where the truth is known.
        embarrassment: class -> windows after this batch, for those classes whose windows differ
            from what was recorded last in this session; for any other class that one still holds.
        domains: number of a domain, as text -> frames that were answered in it.
        novel: frames that are like none of the classes.
        executed_flops: of the inference alone, one forward pass of every frame.
        watching_flops: executed beyond that: moments, telling domains apart, novelty, looking at
            frames again whose labels came late, and, since the tick before, planning and whatever
            was learned and could not be stored.
        energy: of the inference, the watching, and all else that the process worked since the tick
            before, such as planning and writing that tick with its decisions; without any update.
        seconds: wall time of the same.
    """

    start: int
    n: int
    segment: str
    scores: Mapping[str, tuple[int, int]]
    embarrassment: Mapping[str, ClassEmbarrassment]
    domains: Mapping[str, int]
    novel: int
    executed_flops: int
    watching_flops: int
    energy: Energy
    seconds: float

    @property
    def inference_share(self) -> float:
        """The inference's share of the executed FLOPs, 0..1; 1 if none were executed.

        A tick is metered as a whole. Whoever wants the joules or seconds of its inference apart
        from those of its watching divides them by this, and says so.
        """
        together = self.executed_flops + self.watching_flops
        return self.executed_flops / together if together else 1.0


@dataclass(frozen=True)
class Decision:
    """What was decided after a frame, and why.

    Attributes:
        frame: frames seen when it was decided.
        kind: `fire`: embarrassed enough to learn; `wants_labels`: only labels could settle it;
            `keep` or `reject`: what the guard said of an update; `defer`: the budget was in the
            way; `stop`: an update was stopped by the budget, the heat or its prediction, and
            undone; `rollback`: an earlier network is in use again.
        reason: in words a person can check; of `defer`, which limit, how much is missing, and when
            it will be there.
        classes: that it is about.
        network: of a `rollback`, the hash of the network in use since; else None.

    Raises:
        ValueError: a rollback without a network, or another kind with one.
    """

    frame: int
    kind: DecisionKind
    reason: str
    classes: tuple[str, ...]
    network: str | None = None

    def __post_init__(self) -> None:
        if (self.kind == "rollback") != (self.network is not None):
            raise ValueError(f"a decision of kind {self.kind!r} with the network {self.network!r}")


@dataclass(frozen=True)
class Update:
    """One adaptation, kept or not, with what it was predicted to cost and what it cost.

    Attributes:
        frame: frames seen when it ran.
        rung: how much of the network it changed: `norm`, `head`, `tail`, `deep` or `full`.
        domain: number of the domain that it learned in; 0 is the bundle's own.
        classes: that it was to help.
        kept: whether the guard accepted it.
        frames: unlabelled frames that it learned from.
        labels: labelled frames that it learned from.
        steps: of work, before each of which the budget was asked; judging is among them.
        held_out: samples it was judged on; none of their labels taught it.
        exact: whether it was judged on labels; else by the calibrated stand-in.
        held_out_before, held_out_after: embarrassment on those, in nats: mean of the class means
            by labels, mean of the frames by the stand-in. None if it was stopped before it was
            judged.
        anchors_before, anchors_after: mean embarrassment on the guard's anchors, in nats; None
            where they were not asked.
        predicted_flops: operations it was predicted to execute.
        predicted_energy_j: joules it was predicted to take; never measured, whatever the meter.
        predicted_seconds: wall time it was predicted to take.
        predicted_gain: by how many nats embarrassment was predicted to fall; None if nothing was.
        executed_flops: training and judging, counted.
        energy: joules of the same.
        seconds: wall time of the same.
        network_before, network_after: hashes of the networks; equal if nothing was kept.
        delta_bytes: size of what was changed; 0 if nothing was kept.
    """

    frame: int
    rung: str
    domain: int
    classes: tuple[str, ...]
    kept: bool
    frames: int
    labels: int
    steps: int
    held_out: int
    exact: bool
    held_out_before: float | None
    held_out_after: float | None
    anchors_before: float | None
    anchors_after: float | None
    predicted_flops: int
    predicted_energy_j: float
    predicted_seconds: float
    predicted_gain: float | None
    executed_flops: int
    energy: Energy
    seconds: float
    network_before: str
    network_after: str
    delta_bytes: int

    @property
    def stopped(self) -> bool:
        """Whether it was stopped before it was judged."""
        return self.held_out_after is None


@dataclass(frozen=True)
class Evaluation:
    """Correct answers on a named set of frames at a named moment, e.g. ("before", "shifted")."""

    name: str
    subset: str
    n: int
    correct: int


@dataclass(frozen=True)
class Session:
    """One run of one stream by one process, or one `sel-edge adapt` that learned; its ticks are
    those from `frame` on.

    Attributes:
        frame: number of its first frame.
        started_utc: when, as ISO 8601 text.
        source: the stream's SPEC, or the name of the command.
        source_sha256: what the stream consists of; "" without one.
        note: what every record made with the source must say; "" if nothing.
        meter: what the joules are read from.
        energy_origin: whether that measures or estimates.
        versions: package -> version.
    """

    frame: int
    started_utc: str
    source: str
    source_sha256: str
    note: str
    meter: str
    energy_origin: Origin
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Levels:
    """What counts as normal for a network in a domain, so that a restart need not find it again.

    Attributes:
        frame: since when.
        network: its hash.
        domain: number of the domain; 0 is the bundle's own.
        classes: class -> its exact embarrassment.
        together: exact embarrassment of all classes.
        standin: the label-free stand-in over all frames.
    """

    frame: int
    network: str
    domain: int
    classes: Mapping[str, Level]
    together: Level
    standin: Level


@dataclass(frozen=True)
class Balances:
    """What was left to spend at one moment, and how warm it was.

    Attributes:
        frame: frames seen by then.
        utc_s: seconds since the Unix epoch, by the wallet's clock.
        celsius: temperature of the processor; None where it cannot be read.
        throttled: whether the firmware slowed the processor down.
        balances: resource -> (left, size), in FLOPs, joules or flash writes.
    """

    frame: int
    utc_s: float
    celsius: float | None
    throttled: bool
    balances: Mapping[str, tuple[float, float]]


Record = Tick | Decision | Update | Evaluation | Session | Levels | Balances
