"""What the page shows of one ledger, as text and tables: everything but its looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from markupsafe import Markup

from sel_edge.core.ledger import Decision, Evaluation
from sel_edge.report import wording
from sel_edge.report.story import cost_words
from sel_edge.report.stream import Stream
from sel_edge.report.timeline import hidden_rows, timeline
from sel_edge.report.update_view import UPDATE_HEADER, UPDATE_NOTE, update_rows
from sel_edge.report.view import Table
from sel_edge.report.wallet_view import wallet_chart, wallet_note, wallet_rows

MOST_ROWS = 200
Row = TypeVar("Row")
GUARD_RULE = (
    "An update of weights is kept only if held-out embarrassment surely falls by at least 0.005 "
    "nats "
    "(or a new class is surely answered better than by guessing) and the anchors "
    "stay within a stated tolerance: since the bundle, over all updates together, their "
    "embarrassment may rise by 0.2 nats and their accuracy fall by 4 points beyond one standard "
    "error."
)
"""What the runtime's guard is set to (a test holds the two together)."""
JOULES = {
    "measured": "Measured joules were read from a counter of the hardware: RAPL counts the whole "
    "processor package, idle power and other processes included; a GPU's counter the GPU only.",
    "estimated": "Estimated joules are this process's processor time times the device profile's "
    "watts above idle.",
}
"""What each origin means."""
_TRIGGER_NOTE = (
    "By the true classes: the network counts as worse where its right answers fall short, by more "
    "than three standard errors, of what it had in the first segment before it learned anything. "
    "F1 joins the share of firings that were right and the share of worse segments that were "
    "caught. Always and never are scored on the same ticks."
)
_DIVIDED = "Inference and watching are metered together and divided by their FLOPs."
_TRIGGERS = {"ours": "ours", "always": "fires at every tick", "never": "never fires"}
_KINDS = {
    "fire": "noticed",
    "wants_labels": "wants labels",
    "keep": "kept",
    "reject": "rejected",
    "defer": "put off",
    "stop": "stopped",
    "rollback": "rolled back",
}


@dataclass(frozen=True)
class StreamView:
    """One ledger on the page."""

    place: str
    chart: Markup | None
    notes: str
    hidden_classes: int
    segments: Table
    tables: tuple[Table, ...]


def view_stream(stream: Stream) -> StreamView:
    """A ledger's charts and tables."""
    tables = (
        _evaluations(stream.evaluations),
        _updates(stream),
        _deferrals(stream.decisions),
        _trigger(stream),
        _domains(stream),
        _wallet(stream),
        _costs(stream),
        _sessions(stream),
        _decisions(stream.decisions),
        Table(
            "Begun with", ("Key", "Value"), tuple(stream.meta.items()), wide=(1,), is_folded=True
        ),
    )
    return StreamView(
        place=stream.place,
        chart=timeline(stream) if stream.bins else None,
        notes=stream.notes,
        hidden_classes=hidden_rows(stream),
        segments=_segments(stream),
        tables=tuple(table for table in tables if table.rows),
    )


def _segments(stream: Stream) -> Table:
    rows = tuple(
        (
            str(number),
            segment.name,
            f"{wording.percent(segment.accuracy_first)} \u2192 "
            f"{wording.percent(segment.accuracy_last)}",
            f"{segment.start:,}\u2013{segment.start + segment.frames - 1:,}",
            f"{segment.triggers:,}",
            f"{segment.deferred:,}",
            f"{segment.kept:,}",
            f"{segment.rejected:,}",
            f"{segment.stopped:,}",
        )
        for number, segment in enumerate(stream.segments, start=1)
    )
    counts = ("Noticed", "Put off", "Kept", "Rejected", "Stopped")
    header = ("No.", "Segment", "Accuracy", "Frames", *counts)
    note = "Accuracy in the first and in the last fifth of the segment's frames."
    return Table("Segments", header, rows, wide=(1,), note=note)


def _evaluations(evaluations: Sequence[Evaluation]) -> Table:
    def cells(one: Evaluation) -> tuple[str, ...]:
        accuracy = one.correct / one.n if one.n else None
        return (
            one.subset,
            one.name,
            wording.percent(accuracy),
            f"{one.correct:,} of {one.n:,}",
        )

    empty = Table("Evaluations", ("Frames", "When", "Accuracy", "Right"), ())
    return _latest(empty, evaluations, cells)


def _updates(stream: Stream) -> Table:
    empty = Table(
        "Updates",
        UPDATE_HEADER,
        (),
        wide=(2,),
        wrap=(3, 4, 6, 7, 8),
        note=f"{UPDATE_NOTE} {GUARD_RULE}",
    )
    return _latest(empty, update_rows(stream.updates), tuple)


def _deferrals(decisions: Sequence[Decision]) -> Table:
    def cells(decision: Decision) -> tuple[str, ...]:
        return f"{decision.frame:,}", wording.names(decision.classes), decision.reason

    empty = Table(
        "Put off by the budget", ("Frame", "Classes", "What was in the way"), (), (2,), (1,)
    )
    return _latest(empty, [one for one in decisions if one.kind == "defer"], cells)


def _trigger(stream: Stream) -> Table:
    rows = tuple(
        (
            _TRIGGERS[one.name],
            f"{one.fired:,}",
            f"{one.right:,}",
            f"{one.caught:,} of {one.worse:,}",
            wording.UNKNOWN if one.f1 is None else f"{one.f1:.2f}",
        )
        for one in stream.trigger
    )
    header = ("Trigger", "Ticks it fired at", "Rightly", "Worse segments caught", "F1")
    return Table("Was the trigger right?", header, rows, note=_TRIGGER_NOTE)


def _domains(stream: Stream) -> Table:
    def most(number: str) -> str:
        counts = [segment.domains.get(number, 0) for segment in stream.segments]
        return f"{counts.index(max(counts)) + 1}"

    rows = tuple(
        (
            "0, the bundle's own" if number == "0" else number,
            f"{frames:,}",
            wording.percent(frames / stream.frames if stream.frames else None),
            most(number),
        )
        for number, frames in stream.domains.items()
    )
    header = ("Domain", "Frames", "Share", "Mostly in segment")
    note = f"{wording.counted(stream.novel, 'frame')} like none of the classes."
    return Table("Domains", header, rows, note=note)


def _wallet(stream: Stream) -> Table:
    header = ("Budget", "Size", "Least that was left", "Left at the end")
    if (wallet := stream.wallet) is None:
        return Table("Wallet", header, ())
    note, chart = wallet_note(wallet), wallet_chart(wallet)
    return Table("Wallet", header, wallet_rows(wallet), note=note, chart=chart)


def _costs(stream: Stream) -> Table:
    costs = {"Inference": stream.inference}
    note = _meters(stream)
    if stream.watching.executed_flops:
        costs |= {"Watching": stream.watching}
        note = f"{_DIVIDED} {note}".strip()
    costs |= {f"Learning, {rung}": cost for rung, cost in stream.learning.items()}
    rows = tuple(
        (
            name,
            wording.scaled(cost.executed_flops, "FLOP"),
            cost_words(cost.joules),
            wording.duration(cost.seconds),
        )
        for name, cost in costs.items()
    )
    header = ("Work", "Executed", "Energy", "Time")
    return Table("Cost", header, rows if stream.frames else (), note=note)


def _meters(stream: Stream) -> str:
    """What the stream's joules are of."""
    if stream.sessions:
        said = (wording.joules_by(one.meter, one.energy_origin) for one in stream.sessions)
        return " ".join(dict.fromkeys(said))
    origins = dict.fromkeys((*stream.inference.joules, *stream.updating.joules))
    return " ".join(JOULES[origin] for origin in origins if origin in JOULES)


def _sessions(stream: Stream) -> Table:
    rows = tuple(
        (
            f"{session.frame:,}",
            session.started_utc.replace("T", wording.NBSP).removesuffix("Z"),
            session.note or wording.UNKNOWN,
            f"{session.meter}, {session.energy_origin}",
            session.source.replace("+", " + "),  # still a SPEC, and it may break into lines
        )
        for session in stream.sessions
    )
    header = ("From frame", "Started (UTC)", "Note", "Meter", "Source")
    return Table("Sessions", header, rows, wide=(4,), wrap=(2, 3))


def _decisions(decisions: Sequence[Decision]) -> Table:
    def cells(decision: Decision) -> tuple[str, ...]:
        return (
            f"{decision.frame:,}",
            _KINDS[decision.kind],
            wording.names(decision.classes),
            decision.reason,
        )

    header = ("Frame", "Decision", "Classes", "Why")
    return _latest(Table("Decisions", header, (), (2, 3), is_folded=True), decisions, cells)


def _latest(empty: Table, items: Sequence[Row], cells: Callable[[Row], tuple[str, ...]]) -> Table:
    """The table with the last MOST_ROWS items as its rows; it says so if there are more."""
    note = empty.note
    if len(items) > MOST_ROWS:
        note = f"The last {MOST_ROWS:,} of {len(items):,}. {note}".strip()
    return replace(empty, rows=tuple(cells(item) for item in items[-MOST_ROWS:]), note=note)
