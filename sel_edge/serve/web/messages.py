"""What the API answers, where it is not a record of the device itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sel_edge.serve.snapshot import Event, Phase, Point, Snapshot
from sel_edge.serve.web.refusals import Trouble
from sel_edge.serve.web.wire import plain

APART = ("points", "events")
"""Of a snapshot: what has a path of its own."""
READY_PHASES: tuple[Phase, ...] = ("running", "learning")


@dataclass(frozen=True)
class Failure:
    """A refused request.

    Attributes:
        error: why.
    """

    error: Trouble


@dataclass(frozen=True)
class Health:
    """Whether the process and its worker live.

    Attributes:
        alive: whether the worker goes on.
    """

    alive: bool


@dataclass(frozen=True)
class Readiness:
    """Whether the device does its work.

    Attributes:
        ready: the runtime is open, and the last tick was good.
        first_answer: the network has answered a frame since the start: one of the source, or one
            of the bundle's own that it is tried with.
        frames: answered since the start.
        errors: ticks that ended in an error since the start.
        error: the newest; "" if the last tick was good. In full for this machine and for whoever
            shows the token.
        bundle: its hash.
        phase: what the worker does.
    """

    ready: bool
    first_answer: bool
    frames: int
    errors: int
    error: str
    bundle: str
    phase: Phase


@dataclass(frozen=True)
class Session:
    """How this client stands.

    Attributes:
        token_needed: whether a token is asked for.
        signed_in: whether this client may ask.
    """

    token_needed: bool
    signed_in: bool


@dataclass(frozen=True)
class Points:
    """Embarrassment over time.

    Attributes:
        points: oldest first.
    """

    points: tuple[Point, ...]


@dataclass(frozen=True)
class Events:
    """The newest decisions.

    Attributes:
        events: oldest first.
    """

    events: tuple[Event, ...]


@dataclass(frozen=True)
class Candidate:
    """A frame that waits for a label.

    Attributes:
        id: of the frame.
        number: of the frame in the ledger.
        predicted: what the network answered.
        score: how much a label would teach, 0 to 1.
        reason: why.
        seen_utc_s: when it came, seconds since 1970.
    """

    id: str
    number: int
    predicted: str
    score: float
    reason: str
    seen_utc_s: float


@dataclass(frozen=True)
class Queue:
    """The frames whose labels would teach most.

    Attributes:
        frames: best first.
        classes: names that the network knows.
        waiting: frames that wait in all.
    """

    frames: tuple[Candidate, ...]
    classes: tuple[str, ...]
    waiting: int


@dataclass(frozen=True)
class Learned:
    """What came of learning on request.

    Attributes:
        done: whether it has ended; if not, the stream tells of its end.
        sentences: what came of it.
    """

    done: bool
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Changed:
    """What came of a rollback or reload.

    Attributes:
        done: whether it has ended; if not, the stream tells of its end.
        hash: of the network or bundle in use since; null as long as it has not ended.
    """

    done: bool
    hash: str | None


def status_of(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot without what has a path of its own."""
    names = [part.name for part in fields(snapshot) if part.name not in APART]
    return {name: plain(getattr(snapshot, name)) for name in names}


def readiness_of(snapshot: Snapshot) -> Readiness:
    """Whether the device does its work; the worker leaves `starting` with its first answer."""
    return Readiness(
        ready=snapshot.phase in READY_PHASES and not snapshot.error,
        first_answer=snapshot.flow.seen > 0 or snapshot.phase in READY_PHASES,
        frames=snapshot.flow.seen,
        errors=snapshot.errors,
        error=snapshot.error,
        bundle=snapshot.bundle,
        phase=snapshot.phase,
    )
