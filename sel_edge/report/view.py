"""What the page shows, as text and tables: everything but its looks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from markupsafe import Markup

from sel_edge.core.ledger import Decision, Evaluation, Update
from sel_edge.report import compare, tables, wording
from sel_edge.report.chart import Series, line_chart
from sel_edge.report.numbers import Comparison, Run
from sel_edge.report.story import Story, comparison_story, cost_words
from sel_edge.report.stream import Stream
from sel_edge.report.timeline import hidden_rows, timeline

MOST_ROWS = 200
Row = TypeVar("Row")
GUARD_RULE = (
    "An update is kept only if held-out embarrassment falls by at least 0.02 nats and the anchors "
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
_KINDS = {
    "fire": "noticed",
    "wants_labels": "wants labels",
    "keep": "kept",
    "reject": "rejected",
}


@dataclass(frozen=True)
class Table:
    """A table of text: a title, a header, rows as wide as the header.

    Attributes:
        wide: columns that hold sentences and may wrap, counted from 0.
        wrap: columns of shorter texts that may wrap too.
        note: a remark below it.
        is_folded: whether it is shown on demand only.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    wide: tuple[int, ...] = ()
    wrap: tuple[int, ...] = ()
    note: str = ""
    is_folded: bool = False


@dataclass(frozen=True)
class Picture:
    """An SVG file inside the page."""

    title: str
    caption: str
    source: str


@dataclass(frozen=True)
class StreamView:
    """One ledger on the page."""

    place: str
    chart: Markup | None
    notes: str
    hidden_classes: int
    segments: Table
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class ComparisonView:
    """One comparison on the page."""

    place: str
    story: Story
    setting: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class RunView:
    """One pretraining run on the page."""

    place: str
    label: str
    chart: Markup
    facts: Table


def view_stream(stream: Stream) -> StreamView:
    """A ledger's timeline and tables."""
    return StreamView(
        place=stream.place,
        chart=timeline(stream) if stream.bins else None,
        notes=stream.notes,
        hidden_classes=hidden_rows(stream),
        segments=_segments(stream),
        tables=tuple(
            table
            for table in (
                _evaluations(stream.evaluations),
                _updates(stream.updates),
                _costs(stream),
                _sessions(stream),
                _decisions(stream.decisions),
                Table(
                    "Begun with",
                    ("Key", "Value"),
                    tuple(stream.meta.items()),
                    wide=(1,),
                    is_folded=True,
                ),
            )
            if table.rows
        ),
    )


def view_comparison(comparison: Comparison) -> ComparisonView:
    """A comparison's tables and its plots, embedded."""
    systems, classes = compare.text_tables(comparison.numbers)
    n = comparison.numbers["images_per_class"]
    return ComparisonView(
        place=comparison.place,
        story=comparison_story(comparison.numbers),
        setting=tuple(comparison.numbers["setting"]),
        tables=(
            Table(
                "Systems",
                tables.SYSTEM_HEADER,
                tuple(systems),
                note="Paper FLOPs are 2 × parameters × (1 − sparsity) × samples; executed FLOPs "
                "are the forward and backward operations really computed.",
            ),
            Table(
                "Classes",
                tables.CLASS_HEADER,
                tuple(classes),
                wide=(len(tables.CLASS_HEADER) - 1,),
                note=f"On the first {n} test images of each class; “within chance” means no more "
                "than two standard errors of the difference.",
            ),
        ),
        pictures=tuple(
            Picture(plot["title"], plot["caption"], _embedded(comparison.directory / plot["file"]))
            for plot in comparison.numbers["plots"]
            if (comparison.directory / plot["file"]).is_file()
        ),
    )


def view_run(run: Run) -> RunView:
    """A pretraining run's accuracy over its epochs, and its facts."""
    epochs = range(1, run.system.epochs + 1)
    lines = (("training images", "train_acc", "train"), ("test images", "test_full_acc", "sel"))
    series = [
        Series(
            name, style, [(e, v if v == v else None) for e, v in zip(epochs, values, strict=True)]
        )
        for name, column, style in lines
        for values in (run.system.column(column).tolist(),)
    ]
    label = f"Accuracy over {wording.counted(run.system.epochs, 'epoch')}, training and test images"
    cells = tables.system_cells(run.result)
    facts = tuple(zip(tables.SYSTEM_HEADER[1:], cells[1:], strict=True)) + _info_rows(
        run.system.info
    )
    return RunView(
        place=run.place,
        label=run.system.label,
        chart=line_chart(series, "epoch", label),
        facts=Table("Facts", ("What", "Value"), facts, wide=(1,)),
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
            f"{segment.kept:,}",
            f"{segment.rejected:,}",
        )
        for number, segment in enumerate(stream.segments, start=1)
    )
    header = ("No.", "Segment", "Accuracy", "Frames", "Noticed", "Kept", "Rejected")
    note = "Accuracy in the first and in the last fifth of the segment's frames."
    return Table("Segments", header, rows, wide=(1,), note=note)


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


def _updates(updates: Sequence[Update]) -> Table:
    def cells(update: Update) -> tuple[str, ...]:
        return (
            f"{update.frame:,}",
            "✓ kept" if update.kept else "✗ rejected",
            wording.names(update.classes),
            f"{update.labels:,} + {update.held_out:,}",
            _change(update.held_out_before, update.held_out_after),
            _change(update.anchors_before, update.anchors_after),
            wording.scaled(update.executed_flops, "FLOP"),
            wording.energy(update.energy.joules, update.energy.origin),
            wording.duration(update.seconds),
            wording.scaled(update.delta_bytes, "B"),
        )

    header = (
        "Frame",
        "Verdict",
        "Classes",
        "Labels",
        "Held out",
        "Anchors",
        "Executed",
        "Energy",
        "Time",
        "Size",
    )
    note = (
        "Labels: trained on + held out. Held out and Anchors: embarrassment in nats, before → "
        f"after. Size: of the changed rows. {GUARD_RULE}"
    )
    return _latest(Table("Updates", header, (), wrap=(2,), note=note), updates, cells)


def _costs(stream: Stream) -> Table:
    rows = tuple(
        (
            name,
            wording.scaled(cost.executed_flops, "FLOP"),
            cost_words(cost.joules),
            wording.duration(cost.seconds),
        )
        for name, cost in (("Inference", stream.inference), ("Learning", stream.updating))
    )
    header = ("Work", "Executed", "Energy", "Time")
    return Table("Cost", header, rows if stream.frames else (), note=_meters(stream))


def _meters(stream: Stream) -> str:
    """What the stream's joules are of."""
    if stream.sessions:
        said = (wording.joules_by(one.meter, one.energy_origin) for one in stream.sessions)
        return " ".join(dict.fromkeys(said))
    origins = dict.fromkeys((*stream.inference.joules, *stream.updating.joules))
    return " ".join(JOULES[origin] for origin in origins if origin in JOULES)


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


def _change(before: float, after: float) -> str:
    return f"{before:.2f}{wording.NBSP}\u2192{wording.NBSP}{after:.2f}"


def _info_rows(info: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The run.json entries that say what was run and where, as far as it has them."""
    parts = (info.get(key) for key in ("model", "data", "machine", "versions"))
    model, data, machine, versions = (one if isinstance(one, dict) else {} for one in parts)
    entries = {
        "Data": data.get("spec"),
        "Note": data.get("note"),
        "Model": f"{model.get('name')}, width {model.get('width')}" if model else None,
        "Parameters": f"{model['parameters']:,}" if "parameters" in model else None,
        "Seed": info.get("seed"),
        "Start": info.get("init"),
        "Device": info.get("device"),
        "Precision": info.get("precision"),
        "Epochs scale": info.get("epochs_scale"),
        "Energy": compare.meter_words(info),
        "Held out per class": data.get("holdout"),
        "Finished": {True: "yes", False: "no"}.get(info.get("finished", False)),
        "Machine": ", ".join(str(machine[key]) for key in ("processor", "cores") if key in machine),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Commit": info.get("commit"),
    }
    return tuple((key, str(value)) for key, value in entries.items() if value not in (None, ""))


def _embedded(path: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()
