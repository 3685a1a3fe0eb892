"""Was the trigger right? Its score, beside one that always fires and one that never does."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from sel_edge.core.ledger import Decision, Tick, Update

CERTAIN = 3.0
"""Standard errors by which answers must be fewer than expected to call the network worse."""


@dataclass(frozen=True)
class TriggerScore:
    """How well a trigger told when the network had become worse.

    Attributes:
        name: "ours", "always" or "never".
        fired: ticks at which it fired.
        right: those of them at which the network was worse.
        worse: segments in which the network was worse, at least for a time.
        caught: those of them in which it fired while it was worse.
        f1: harmonic mean of right / fired and caught / worse, 0..1; None if nothing got worse.
    """

    name: str
    fired: int
    right: int
    worse: int
    caught: int
    f1: float | None


def score_trigger(
    segments: Sequence[Sequence[Tick]], decisions: Sequence[Decision], updates: Sequence[Update]
) -> tuple[TriggerScore, ...]:
    """Score our trigger, one that fires at every tick, and one that never fires.

    What is right to notice is that the network has become worse, and the true classes tell when.
    The ticks are divided into pieces in which neither the stream nor the network changes: at the
    borders of segments, at kept updates and at rollbacks. The first piece, before anything was
    learned, is taken as normal. In another piece the network was worse if its correct answers fall
    short, by more than three standard errors, of what the first piece's accuracy of each class lets
    expect (of all classes together, for a class that was not in it).

    A firing is right if it comes at a tick of such a piece: right firings / firings is the
    precision. A segment with such a piece is caught if the trigger fired in it at such a tick:
    caught / worse segments is the recall. F1 is their harmonic mean. So several firings in one long
    change are no fault, and neither is the quiet after it was learned. The other two triggers are
    scored at the same ticks, with the network as ours left it; ticks without a known truth count
    for none of the three.

    Args:
        segments: the ticks of each segment, in order.
        decisions, updates: of the same ledger, in order.

    Returns:
        Ours, always, never; nothing where the first piece has no known truth or is the only one.
    """
    changed = sorted(
        [update.frame for update in updates if update.kept]
        + [decision.frame for decision in decisions if decision.kind == "rollback"]
    )
    pieces = [
        (number, list(ticks))
        for number, segment in enumerate(segments)
        for _, ticks in groupby(segment, key=lambda tick: bisect_right(changed, tick.start))
    ]
    counts = [_counts(ticks) for _, ticks in pieces]
    if len(pieces) < 2 or not counts[0]:
        return ()
    known: list[int] = []
    worse: dict[int, int] = {}
    for (number, ticks), found in zip(pieces, counts, strict=True):
        if found:
            known += [tick.start for tick in ticks]
            if _is_worse(found, counts[0]):
                worse |= dict.fromkeys((tick.start for tick in ticks), number)
    ours = _fired(segments, decisions) & set(known)
    fired: dict[str, set[int]] = {"ours": ours, "always": set(known), "never": set()}
    return tuple(_score(name, ticks, worse) for name, ticks in fired.items())


def _fired(segments: Sequence[Sequence[Tick]], decisions: Sequence[Decision]) -> set[int]:
    """Starts of the ticks at which ours fired; a decision has the number of the frame after."""
    starts = [tick.start for segment in segments for tick in segment]
    places = (bisect_left(starts, one.frame) - 1 for one in decisions if one.kind == "fire")
    return {starts[place] for place in places if place >= 0}


def _score(name: str, fired: set[int], worse: dict[int, int]) -> TriggerScore:
    """The score of a trigger that fired at these ticks.

    Args:
        name: of the trigger.
        fired: starts of ticks.
        worse: start of each tick at which the network was worse -> number of its segment.
    """
    right = [start for start in fired if start in worse]
    caught, segments = {worse[start] for start in right}, set(worse.values())
    f1: float | None = None
    if segments:
        precision, recall = len(right) / max(len(fired), 1), len(caught) / len(segments)
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return TriggerScore(name, len(fired), len(right), len(segments), len(caught), f1)


def _counts(ticks: Iterable[Tick]) -> dict[str, tuple[int, int]]:
    """Class -> (frames, correct answers) over some ticks."""
    frames: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for tick in ticks:
        for name, (n, correct) in tick.scores.items():
            frames[name] += n
            right[name] += correct
    return {name: (n, right[name]) for name, n in frames.items() if n}


def _is_worse(found: dict[str, tuple[int, int]], normal: dict[str, tuple[int, int]]) -> bool:
    """Whether correct answers fall short of what is normal for their classes."""
    together = (sum(n for n, _ in normal.values()), sum(right for _, right in normal.values()))
    new = sum(n for name, (n, _) in found.items() if name not in normal)
    groups = [(new, *together)] if new else []
    groups += [(n, *normal[name]) for name, (n, _) in found.items() if name in normal]
    expected = variance = 0.0
    for n, normal_n, normal_right in groups:
        share = (normal_right + 1) / (normal_n + 2)  # never quite 0 or 1, so neither is the spread
        expected += n * share
        variance += share * (1 - share) * n * (1 + n / (normal_n + 2))
    missing = expected - sum(right for _, right in found.values())
    return missing > CERTAIN * math.sqrt(variance)
