"""What the page shows of pretraining, as text and tables: everything but its looks."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sel_edge.report import compare, tables, wording
from sel_edge.report.chart import Series, line_chart
from sel_edge.report.numbers import Comparison, Run
from sel_edge.report.story import Story, comparison_story


@dataclass(frozen=True)
class Table:
    """A table of text: a title, a header, rows as wide as the header.

    Attributes:
        wide: columns that hold sentences and may wrap, counted from 0.
        wrap: columns of shorter texts that may wrap too.
        note: a remark below it.
        chart: what is drawn above it, if anything.
        is_folded: whether it is shown on demand only.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    wide: tuple[int, ...] = ()
    wrap: tuple[int, ...] = ()
    note: str = ""
    is_folded: bool = False
    chart: Markup | None = None


@dataclass(frozen=True)
class Picture:
    """An SVG file inside the page."""

    title: str
    caption: str
    source: str


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
        "Device": info.get("gpu") or info.get("device"),
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
