"""What a ledger says about one stream, summed up for the page and for --json."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from sel_edge.core.ledger import Decision, Evaluation, Ledger, Session, Tick, Update
from sel_edge.report import costs
from sel_edge.report.costs import Cost
from sel_edge.report.holdings import Wallet, sum_up_balances
from sel_edge.report.trigger_score import TriggerScore, score_trigger

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
        domains: number of a domain -> frames that were answered in it.
        novel: frames that were like none of the classes.
        deferred: how often the budget was in the way of learning.
        kept, rejected, stopped: updates; those stopped were never judged.
    """

    name: str
    session: int
    start: int
    frames: int
    accuracy: float | None
    accuracy_first: float | None
    accuracy_last: float | None
    domains: Mapping[str, int]
    novel: int
    triggers: int
    deferred: int
    kept: int
    rejected: int
    stopped: int


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
class Stream:
    """One ledger, summed up.

    Attributes:
        place: where the ledger lies, relative to the reported directory.
        meta: what the ledger was begun with.
        classes: names in order of first appearance.
        frames: how many were seen.
        triggers, deferred, rollbacks: decisions of these kinds.
        kept, rejected, stopped: updates; those stopped were never judged.
        domains: number of a domain -> frames that were answered in it.
        novel: frames that were like none of the classes.
        inference, watching: of the ticks, whose joules and seconds, metered together, are divided
            by FLOPs.
        updating: of all updates.
        learning: rung -> cost of its updates.
        trigger: the score of our trigger and of the two trivial ones; empty if nothing is known.
        wallet: what was left to spend; None if that was not recorded.
        sessions: each run of the runtime on this ledger; none in a ledger that does not say.
    """

    place: str
    meta: Mapping[str, str]
    classes: tuple[str, ...]
    frames: int
    triggers: int
    deferred: int
    rollbacks: int
    kept: int
    rejected: int
    stopped: int
    domains: Mapping[str, int]
    novel: int
    segments: tuple[Segment, ...]
    bins: tuple[Bin, ...]
    progress: tuple[Progress, ...]
    inference: Cost
    watching: Cost
    updating: Cost
    learning: Mapping[str, Cost]
    trigger: tuple[TriggerScore, ...]
    wallet: Wallet | None
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

    ticks, updates = ledger.ticks, ledger.updates
    parts = [(key[0], list(of_part)) for key, of_part in groupby(ticks, key=part)]
    names = (name for tick in ticks for name in (*tick.scores, *tick.embarrassment))
    rungs = dict.fromkeys(update.rung for update in updates)
    return Stream(
        place=place,
        meta=ledger.meta,
        classes=tuple(dict.fromkeys(names)),
        frames=sum(tick.n for tick in ticks),
        triggers=kinds.count("fire"),
        deferred=kinds.count("defer"),
        rollbacks=kinds.count("rollback"),
        kept=sum(update.kept for update in updates),
        rejected=sum(_is_rejected(update) for update in updates),
        stopped=sum(update.stopped for update in updates),
        domains=_domains(ticks),
        novel=sum(tick.novel for tick in ticks),
        segments=tuple(_segment(session, of_part, ledger) for session, of_part in parts),
        bins=tuple(_bins(parts, len(ticks))),
        progress=tuple(_progress(ledger.evaluations)),
        inference=costs.of_inference(ticks),
        watching=costs.of_watching(ticks),
        updating=costs.of_updates(updates),
        learning={
            rung: costs.of_updates(one for one in updates if one.rung == rung) for rung in rungs
        },
        trigger=score_trigger([of_part for _, of_part in parts], ledger.decisions, updates),
        wallet=sum_up_balances(ledger.balances),
        decisions=ledger.decisions,
        updates=updates,
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
        domains=_domains(ticks),
        novel=sum(tick.novel for tick in ticks),
        triggers=sum(decision.kind == "fire" for decision in inside),
        deferred=sum(decision.kind == "defer" for decision in inside),
        kept=sum(update.kept for update in updates),
        rejected=sum(_is_rejected(update) for update in updates),
        stopped=sum(update.stopped for update in updates),
    )


def _is_rejected(update: Update) -> bool:
    return not (update.kept or update.stopped)


def _domains(ticks: Iterable[Tick]) -> dict[str, int]:
    """Number of a domain -> frames, by number."""
    frames: Counter[str] = Counter()
    for tick in ticks:
        frames.update(tick.domains)
    return dict(sorted(frames.items(), key=lambda item: (len(item[0]), item[0])))


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
