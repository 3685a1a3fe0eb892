"""What everybody but the worker may know of a device: one immutable picture of it at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.core.measurement import Energy

Phase = Literal["starting", "running", "learning", "stopping"]
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True)
class Answer:
    """What the network said of one frame.

    Attributes:
        frame: its number in the ledger; while nothing can be recorded, that of the next one.
        utc_s: when it was taken, seconds since 1970.
        prediction: class name.
        confidence: share of the answered class, 0 to 1, softmax at T = 1.5.
        domain: number of the domain it was answered in; 0 is the bundle's own.
        is_novel: whether it is like none of the classes.
    """

    frame: int
    utc_s: float
    prediction: str
    confidence: float
    domain: int
    is_novel: bool


@dataclass(frozen=True)
class Point:
    """Embarrassment at one moment.

    Attributes:
        utc_s: seconds since 1970.
        frame: frames seen by then.
        values: class -> nats, by labels where there are any, else by the stand-in; a class of
            which nothing is known is missing.
    """

    utc_s: float
    frame: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Event:
    """One decision, for the timeline.

    Attributes:
        utc_s: seconds since 1970; None for one of an earlier session.
        frame: frames seen when it was decided.
        kind: as in the ledger's `Decision`, or `restart`, `reload` or `error`.
        reason: in words.
        classes: that it is about.
        energy: of the update that it concluded; None without one.
    """

    utc_s: float | None
    frame: int
    kind: str
    reason: str
    classes: tuple[str, ...]
    energy: Energy | None = None


@dataclass(frozen=True)
class Balance:
    """One limit of the wallet.

    Attributes:
        resource: its name, such as `energy_j_per_day`.
        left, size: in its own unit.
    """

    resource: str
    left: float
    size: float


@dataclass(frozen=True)
class Spent:
    """Where joules went since the service started.

    Attributes:
        purpose: `inference` (with watching), or the rung of updates, such as `head`.
        energy: joules, measured or estimated.
        executed_flops: operations of the same.
        seconds: wall time of the same.
    """

    purpose: str
    energy: Energy
    executed_flops: int
    seconds: float


@dataclass(frozen=True)
class Flow:
    """Frames since the service started.

    Attributes:
        seen: answered.
        dropped: let go because newer ones came faster than they could be answered.
        refused: that could not be used, such as pictures that do not decode.
        frames_per_s: answered, mean of the last ten seconds.
        source: as the user named it.
        source_state: in words, such as "running", "ended" or "no camera: ...; trying again".
    """

    seen: int
    dropped: int
    refused: int
    frames_per_s: float
    source: str
    source_state: str


@dataclass(frozen=True)
class Waiting:
    """The label queue.

    Attributes:
        waiting: frames that wait for a label.
        labelled: class -> labelled frames.
        not_useful: frames that were answered so.
    """

    waiting: int
    labelled: Mapping[str, int]
    not_useful: int


@dataclass(frozen=True)
class Snapshot:
    """A device at one moment.

    Attributes:
        version: rises by one with every snapshot.
        utc_s: when it was made, seconds since 1970.
        started_utc_s: when the service started.
        phase: what the worker does; `starting` as long as no runtime is open that has answered a
            frame, be it one of the bundle's own.
        name: of the device, for people.
        bundle, network: hashes of the bundle and of the network in use.
        model: name of the network's architecture.
        classes: known to the network in use, in its order; those beyond the bundle's were learned.
        bundle_classes: known to the bundle.
        frame_shape: of the bundle's frames: (H, W, C), or (channels, length) of signals.
        flow: frames.
        answer: the newest; None before the first.
        embarrassment: class -> windows now.
        normal: class -> the embarrassment that is normal for it, in nats, where that is known.
        points: embarrassment over time, oldest first, at most 240.
        events: the newest decisions, oldest first, at most 200.
        balances: the wallet; empty if nothing limits it.
        spent: where the joules went.
        celsius: of the processor; None where it cannot be read.
        throttled: whether the firmware slows it down.
        queue: what waits for a label.
        errors: ticks that ended in an error since the start.
        error: the newest, in words; "" if the last tick was good.
        state: directory of the runtime, for `sel-edge label` and the like.
    """

    version: int
    utc_s: float
    started_utc_s: float
    phase: Phase
    name: str
    bundle: str
    network: str
    model: str
    classes: tuple[str, ...]
    bundle_classes: tuple[str, ...]
    frame_shape: tuple[int, ...]
    flow: Flow
    answer: Answer | None
    embarrassment: Mapping[str, ClassEmbarrassment]
    normal: Mapping[str, float]
    points: tuple[Point, ...]
    events: tuple[Event, ...]
    balances: tuple[Balance, ...]
    spent: tuple[Spent, ...]
    celsius: float | None
    throttled: bool
    queue: Waiting
    errors: int
    error: str
    state: str
