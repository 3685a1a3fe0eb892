"""What a ledger says about one stream, summed up for the page and for --json."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from sel_edge.core.ledger import Decision, Evaluation, Ledger, Session, Tick, Update
from sel_edge.core.measurement import Energy

MOST_BINS = 96
EDGE_SHARE = 0.2
"""A segment's accuracy at its start and end is taken over this share of its frames."""


@dataclass(frozen=True)
class Score:
    """Correctly named frames among those whose truth is known."""

    n: int
    correct: int

    @property
    def accuracy(self) -> float | None:
        """0..1, or None without a known truth."""
        return self.correct / self.n if self.n else None


@dataclass(frozen=True)
class Segment:
    """A part of the stream: its frames, how well they were named, what was decided in it.

    Attributes:
        session: number of the run of the runtime that saw it, from 1; 0 if none is recorded.
    """

    name: str
    session: int
    start: int
    frames: int
    accuracy: float | None
    accuracy_first: float | None
    accuracy_last: float | None
    triggers: int
    kept: int
    rejected: int


@dataclass(frozen=True)
class Window:
    """Embarrassment by one class in nats, exact where labels were given, else the stand-in."""

    value: float
    is_exact: bool


@dataclass(frozen=True)
class Bin:
    """Some consecutive ticks of one segment, as the timeline draws them."""

    start: int
    frames: int
    segment: int
    score: Score
    embarrassment: Mapping[str, Window]


@dataclass(frozen=True)
class Progress:
    """Accuracy on one named set of frames at its first and at its last evaluation."""

    subset: str
    n: int
    first_name: str
    last_name: str
    first: float | None
    last: float | None


@dataclass(frozen=True)
class Cost:
    """What one kind of work took; joules per origin, which never add up to one number."""

    executed_flops: int
    seconds: float
    joules: Mapping[str, float]


@dataclass(frozen=True)
class Stream:
    """One ledger, summed up.

    Attributes:
        place: where the ledger lies, relative to the reported directory.
        meta: what the ledger was begun with.
        classes: names in order of first appearance.
        frames: how many were seen.
        triggers, kept, rejected: decisions of these kinds.
        sessions: each run of the runtime on this ledger; none in a ledger that does not say.
    """

    place: str
    meta: Mapping[str, str]
    classes: tuple[str, ...]
    frames: int
    triggers: int
    kept: int
    rejected: int
    segments: tuple[Segment, ...]
    bins: tuple[Bin, ...]
    progress: tuple[Progress, ...]
    inference: Cost
    updating: Cost
    decisions: Sequence[Decision]
    updates: Sequence[Update]
    evaluations: Sequence[Evaluation]
    sessions: Sequence[Session]

    @property
    def notes(self) -> str:
        """What every record of these frames must say, such as "JPEG, quality 75, 4:2:0"."""
        return "; ".join(dict.fromkeys(one.note for one in self.sessions if one.note))


def sum_up(ledger: Ledger, place: str) -> Stream:
    """Sum up a ledger."""
    kinds = [decision.kind for decision in ledger.decisions]
    starts = [session.frame for session in ledger.sessions]

    def part(tick: Tick) -> tuple[int, str]:
        return bisect_right(starts, tick.start), tick.segment

    parts = [(key[0], list(ticks)) for key, ticks in groupby(ledger.ticks, key=part)]
    names = (name for tick in ledger.ticks for name in (*tick.scores, *tick.embarrassment))
    return Stream(
        place=place,
        meta=ledger.meta,
        classes=tuple(dict.fromkeys(names)),
        frames=sum(tick.n for tick in ledger.ticks),
        triggers=kinds.count("fire"),
        kept=sum(update.kept for update in ledger.updates),
        rejected=sum(not update.kept for update in ledger.updates),
        segments=tuple(_segment(session, ticks, ledger) for session, ticks in parts),
        bins=tuple(_bins(parts, len(ledger.ticks))),
        progress=tuple(_progress(ledger.evaluations)),
        inference=_cost(ledger.ticks),
        updating=_cost(ledger.updates),
        decisions=ledger.decisions,
        updates=ledger.updates,
        evaluations=ledger.evaluations,
        sessions=ledger.sessions,
    )


def score(ticks: Iterable[Tick]) -> Score:
    """All frames of known truth in some ticks."""
    pairs = [pair for tick in ticks for pair in tick.scores.values()]
    return Score(sum(n for n, _ in pairs), sum(correct for _, correct in pairs))


def _segment(session: int, ticks: list[Tick], ledger: Ledger) -> Segment:
    start, end = ticks[0].start, ticks[-1].start + ticks[-1].n
    edge = max(1, math.ceil(EDGE_SHARE * len(ticks)))
    # What is decided after a tick carries the number of the frame after it.
    inside = [decision for decision in ledger.decisions if start < decision.frame <= end]
    updates = [update for update in ledger.updates if start < update.frame <= end]
    return Segment(
        name=ticks[0].segment,
        session=session,
        start=start,
        frames=end - start,
        accuracy=score(ticks).accuracy,
        accuracy_first=score(ticks[:edge]).accuracy,
        accuracy_last=score(ticks[-edge:]).accuracy,
        triggers=sum(decision.kind == "fire" for decision in inside),
        kept=sum(update.kept for update in updates),
        rejected=sum(not update.kept for update in updates),
    )


def _bins(parts: list[tuple[int, list[Tick]]], n_ticks: int) -> Iterable[Bin]:
    width = max(1, math.ceil(n_ticks / MOST_BINS))
    windows: dict[str, Window] = {}
    last_session = None
    for index, (session, ticks) in enumerate(parts):
        if session != last_session:
            windows.clear()  # a session begins with none
            last_session = session
        for at in range(0, len(ticks), width):
            part = ticks[at : at + width]
            for tick in part:
                _carry_on(windows, tick)
            frames = sum(tick.n for tick in part)
            yield Bin(part[0].start, frames, index, score(part), dict(windows))


def _carry_on(windows: dict[str, Window], tick: Tick) -> None:
    """Bring the windows up to a tick: a class that it does not mention keeps its last one."""
    for name, window in tick.embarrassment.items():
        value = window.standin if window.exact is None else window.exact
        if value is None:
            windows.pop(name, None)
        else:
            windows[name] = Window(value, window.exact is not None)


def _progress(evaluations: Sequence[Evaluation]) -> Iterable[Progress]:
    for subset in dict.fromkeys(evaluation.subset for evaluation in evaluations):
        rows = [evaluation for evaluation in evaluations if evaluation.subset == subset]
        first, last = rows[0], rows[-1]
        yield Progress(
            subset=subset,
            n=last.n,
            first_name=first.name,
            last_name=last.name,
            first=Score(first.n, first.correct).accuracy,
            last=Score(last.n, last.correct).accuracy,
        )


def _cost(rows: Sequence[Tick] | Sequence[Update]) -> Cost:
    totals: dict[str, Energy] = {}
    for row in rows:
        origin = row.energy.origin
        totals[origin] = totals[origin] + row.energy if origin in totals else row.energy
    return Cost(
        executed_flops=sum(row.executed_flops for row in rows),
        seconds=sum(row.seconds for row in rows),
        joules={origin: energy.joules for origin, energy in totals.items()},
    )
