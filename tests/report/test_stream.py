"""A ledger is summed up without losing a frame, and without adding what must not be added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import (
    ClassEmbarrassment,
    Decision,
    Evaluation,
    Ledger,
    Session,
    Tick,
    Update,
    read_ledger,
)
from sel_edge.core.measurement import Energy, Origin
from sel_edge.report.costs import Cost
from sel_edge.report.stream import MOST_BINS, Window, sum_up
from sel_edge.report.timeline import heat_step, smoothed
from tests.core import ledgers

Make = Callable[..., Path]


def ledger_of(
    ticks: list[Tick],
    decisions: list[Decision] | None = None,
    updates: list[Update] | None = None,
    evaluations: list[Evaluation] | None = None,
) -> Ledger:
    return Ledger({}, ticks, decisions or [], updates or [], evaluations or [])


@st.composite
def streams(draw: st.DrawFn) -> list[Tick]:
    ticks: list[Tick] = []
    start = draw(st.integers(0, 1000))
    for segment in range(draw(st.integers(1, 4))):
        for _ in range(draw(st.integers(1, 150))):
            n = draw(st.integers(1, 64)) if len(ticks) < 20 else 8
            right = draw(st.integers(0, n)) if len(ticks) < 20 else n // 2
            scores = {"a": (n, right)}
            ticks.append(ledgers.tick(start, n, segment=f"{segment}", scores=scores))
            start += n
    return ticks


@given(streams())
def test_bins_hold_every_frame_once_and_never_mix_segments(ticks: list[Tick]) -> None:
    stream = sum_up(ledger_of(ticks), ".")
    assert sum(one.frames for one in stream.bins) == stream.frames == sum(tick.n for tick in ticks)
    assert sum(one.score.correct for one in stream.bins) == sum(t.scores["a"][1] for t in ticks)
    assert [one.start for one in stream.bins] == sorted({one.start for one in stream.bins})
    assert len(stream.bins) <= MOST_BINS + len(stream.segments)
    for one in stream.bins:
        segment = stream.segments[one.segment]
        assert segment.start <= one.start
        assert one.start + one.frames <= segment.start + segment.frames


@given(streams())
def test_the_accuracy_line_stays_within_what_was_seen(ticks: list[Tick]) -> None:
    stream = sum_up(ledger_of(ticks), ".")
    for segment in range(len(stream.segments)):
        bins = [one for one in stream.bins if one.segment == segment]
        seen = [one.score.accuracy or 0.0 for one in bins]
        assert all(min(seen) <= (mean or 0.0) <= max(seen) for mean in smoothed(bins))


def test_decisions_and_updates_are_counted_where_they_fell(make_ledger: Make) -> None:
    stream = sum_up(read_ledger(make_ledger() / "ledger.sqlite"), "edge")
    first, second = stream.segments
    assert (first.triggers, first.kept, first.rejected) == (0, 0, 0)
    assert (second.triggers, second.kept, second.rejected) == (2, 1, 1)
    assert (stream.triggers, stream.kept, stream.rejected) == (2, 1, 1)
    assert stream.updating.joules == {"estimated": 0.5}
    assert stream.inference.joules == {"estimated": 5.0}
    assert stream.progress[0].first == 0.61
    assert stream.progress[0].last == 0.78


def test_a_decision_on_the_last_frame_belongs_to_the_segment_that_ends() -> None:
    ticks = [ledgers.tick(8 * i, 8, segment=name) for i, name in enumerate("ab")]
    segments = sum_up(ledger_of(ticks, [Decision(8, "fire", "why", ())]), ".").segments
    assert [segment.triggers for segment in segments] == [1, 0]
    assert segments[0].accuracy is None


def test_measured_and_estimated_joules_stay_apart() -> None:
    origins: tuple[Origin, ...] = ("measured", "estimated", "measured")
    ticks = [ledgers.tick(i, 1, energy=Energy(1.0, o)) for i, o in enumerate(origins)]
    assert sum_up(ledger_of(ticks), ".").inference.joules == {"measured": 2.0, "estimated": 1.0}


def test_watching_and_inference_share_a_tick_by_flops_and_rungs_stand_apart() -> None:
    energy = Energy(4.0, "measured")
    tick = ledgers.tick(executed_flops=300, watching_flops=100, energy=energy, seconds=2.0)
    updates = [ledgers.update(rung=rung) for rung in ("head", "norm", "head")]
    stream = sum_up(ledger_of([tick], updates=updates), ".")
    assert stream.inference == Cost(300, 1.5, {"measured": 3.0})
    assert stream.watching == Cost(100, 0.5, {"measured": 1.0})
    costs = {rung: cost.joules for rung, cost in stream.learning.items()}
    assert costs == {"head": {"estimated": 0.5}, "norm": {"estimated": 0.25}}
    assert stream.updating.joules == {"estimated": 0.75}


def test_frames_are_counted_by_domain() -> None:
    counts: list[dict[str, int]] = [{"0": 8}, {"10": 5, "2": 3}, {"0": 1, "2": 7}]
    ticks = [
        ledgers.tick(8 * i, 8, segment=f"{i}", domains=domains, novel=i)
        for i, domains in enumerate(counts)
    ]
    stream = sum_up(ledger_of(ticks), ".")
    assert list(stream.domains.items()) == [("0", 9), ("2", 10), ("10", 5)]
    assert (stream.novel, [segment.novel for segment in stream.segments]) == (3, [0, 1, 2])
    assert stream.segments[1].domains == {"2": 3, "10": 5}


def test_what_the_budget_put_off_or_stopped_is_neither_kept_nor_rejected() -> None:
    decisions = [Decision(8, "defer", "energy", ()), Decision(8, "rollback", "why", (), "aa")]
    updates = [ledgers.stopped(frame=8), ledgers.update(frame=8, kept=False)]
    stream = sum_up(ledger_of([ledgers.tick(0, 8)], decisions, updates), ".")
    (segment,) = stream.segments
    for one in (stream, segment):
        assert (one.deferred, one.kept, one.rejected, one.stopped) == (1, 0, 1, 1)
    assert stream.rollbacks == 1


def test_exact_embarrassment_wins_over_the_stand_in() -> None:
    windows = {
        "exact": ClassEmbarrassment(0.0, 2.0, 4),
        "standin": ClassEmbarrassment(None, 2.0, 0),
        "none": ClassEmbarrassment(None, None, 0),
    }
    tick = ledgers.tick(0, 1, embarrassment=windows)
    shown = sum_up(ledger_of([tick]), ".").bins[0].embarrassment
    assert shown == {"exact": Window(0.0, True), "standin": Window(2.0, False)}


def tick_at(
    start: int, segment: str = "1: a", windows: dict[str, ClassEmbarrassment] | None = None
) -> Tick:
    scores = {"a": (8, 4)}
    return ledgers.tick(start, 8, segment=segment, scores=scores, embarrassment=windows or {})


def session_at(frame: int, note: str = "") -> Session:
    when = "2025-01-01T00:00:00Z"
    return Session(frame, when, "digits", "0" * 64, note, "rapl:package-0", "measured", {})


def test_segments_of_the_same_name_in_two_sessions_stay_two() -> None:
    ledger = ledger_of([tick_at(8 * step) for step in range(6)])
    assert [segment.session for segment in sum_up(ledger, ".").segments] == [0]
    # The first one was interrupted before its first frame.
    sessions = [session_at(0), session_at(0, "JPEG"), session_at(24, "JPEG")]
    stream = sum_up(replace(ledger, sessions=sessions), ".")
    spans = [(segment.session, segment.start, segment.frames) for segment in stream.segments]
    assert spans == [(2, 0, 24), (3, 24, 24)]
    assert stream.notes == "JPEG"
    assert {one.segment for one in stream.bins} == {0, 1}


def test_a_class_that_a_tick_leaves_out_keeps_its_last_window() -> None:
    changes: list[dict[str, ClassEmbarrassment]] = [
        {"a": ClassEmbarrassment(1.0, None, 3), "b": ClassEmbarrassment(None, 0.5, 0)},
        {},
        {"b": ClassEmbarrassment(2.0, 0.5, 1)},
        {"a": ClassEmbarrassment(None, None, 0)},
    ]
    ticks = [tick_at(8 * step, f"{step}", windows) for step, windows in enumerate(changes)]
    a, b, exact_b = Window(1.0, True), Window(0.5, False), Window(2.0, True)
    shown = [one.embarrassment for one in sum_up(ledger_of(ticks), ".").bins]
    assert shown == [{"a": a, "b": b}, {"a": a, "b": b}, {"a": a, "b": exact_b}, {"b": exact_b}]


@given(streams(), st.data())
def test_changed_windows_alone_draw_the_same_timeline(
    ticks: list[Tick], data: st.DataObject
) -> None:
    values = st.sampled_from([None, 0.5, 2.0])
    windows = st.builds(ClassEmbarrassment, values, values, st.just(1))
    complete, changed = [], []
    known: dict[str, ClassEmbarrassment] = {}
    for tick in ticks[:40]:
        now = {name: data.draw(windows) for name in "ab"}
        news = {name: window for name, window in now.items() if window != known.get(name)}
        complete.append(replace(tick, embarrassment=now))
        changed.append(replace(tick, embarrassment=news))
        known = now
    assert sum_up(ledger_of(changed), ".").bins == sum_up(ledger_of(complete), ".").bins


def test_a_set_evaluated_once_has_no_change() -> None:
    stream = sum_up(ledger_of([], evaluations=[Evaluation("end", "old", 0, 0)]), ".")
    assert stream.progress[0].first is stream.progress[0].last is None
    assert stream.bins == stream.segments == ()


@pytest.mark.parametrize(("value", "step"), [(0.0, 0), (0.25, 1), (0.99, 2), (2.49, 4), (9.0, 5)])
def test_heat_rises_with_embarrassment(value: float, step: int) -> None:
    assert heat_step(value) == step
