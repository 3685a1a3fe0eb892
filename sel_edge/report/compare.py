"""`sel-edge compare`: two runs side by side, as tables.md, tables.json and one SVG per plot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sel_edge.core.errors import DataError, MissingDependencyError
from sel_edge.core.files import write_atomic
from sel_edge.core.runlog import read_run, read_samples
from sel_edge.report import tables, wording
from sel_edge.report.system import Reference, System, read_reference, system_of

if TYPE_CHECKING:
    from sel_edge.report.plots.style import Plot

SCHEMA = 1
TABLES_FILE = "tables.json"
MARKDOWN_FILE = "tables.md"
_MAY_DIFFER = {
    "Model": ("model", "name"),
    "Width": ("model", "width"),
    "Seed": ("seed",),
    "Start": ("init",),
    "Device": ("device",),
    "Precision": ("precision",),
    "Epochs scale": ("epochs_scale",),
    "Held out per class": ("data", "holdout"),
}
"""What a reader must know to weigh the numbers, and where run.json says it."""


def write_compare(
    dense: Path, sel: Path, out: Path, reference: Path | None = None
) -> dict[str, Any]:
    """Compare two pretraining runs.

    Args:
        dense: run directory of the baseline.
        sel: run directory of the run to hold against it.
        out: directory for tables.md, tables.json and the plots; files of these names in it are
            replaced, others stay.
        reference: directory with the published baseline_hist.csv and staged_hist.csv, drawn under
            our curves.

    Returns:
        What tables.json holds.

    Raises:
        RunDirectoryError: a directory holds no readable run.
        DataError: the runs cannot be compared, or the reference cannot be read.
        MissingDependencyError: matplotlib is not installed.
        StorageError: `out` cannot be written.
    """
    baseline = system_of(read_run(dense), "dense")
    other = system_of(read_run(sel), "SEL")
    _require_comparable(dense, baseline, sel, other)
    published = read_reference(reference) if reference is not None else None
    plots = _plots(baseline, other, published, dense, sel)
    numbers = comparison_numbers(baseline, other, published)
    numbers["plots"] = [
        {"file": f"{plot.name}.svg", "title": plot.title, "caption": plot.caption} for plot in plots
    ]
    for plot in plots:
        write_atomic(out / f"{plot.name}.svg", plot.svg)
    markdown = comparison_markdown(numbers)
    write_atomic(out / MARKDOWN_FILE, markdown.encode("utf-8", "replace"))
    write_atomic(out / TABLES_FILE, json.dumps(numbers, indent=2, allow_nan=False).encode() + b"\n")
    return numbers


def comparison_numbers(
    dense: System, sel: System, reference: Reference | None = None
) -> dict[str, Any]:
    """The numbers of both tables, without the plots: shares of 1, FLOP, seconds, joules."""
    dense_row, sel_row = tables.system_row(dense), tables.system_row(sel)
    published = [reference.dense, reference.sel] if reference is not None else []
    per_class = _images_per_class(sel)
    return {
        "schema": SCHEMA,
        "dense": asdict(dense_row),
        "sel": asdict(sel_row),
        "savings": asdict(tables.savings(dense_row, sel_row)),
        "classes": [asdict(row) for row in tables.class_rows(dense, sel, per_class)],
        "images_per_class": per_class,
        "published": [asdict(tables.system_row(system)) for system in published],
        "setting": _setting(dense, sel),
        "data_note": str(sel.info.get("data", {}).get("note", "")),
    }


def comparison_markdown(numbers: dict[str, Any]) -> str:
    """Both tables and the plots as Markdown, from what `comparison_numbers` returned."""
    systems, classes = text_tables(numbers)
    lines = [
        "# Dense and SEL compared",
        wording.markdown(" ".join(numbers["setting"])),
        tables.markdown_table(tables.SYSTEM_HEADER, systems).rstrip(),
        "Paper FLOPs are 2 x parameters x (1 - sparsity) x samples; executed FLOPs are the forward "
        "and backward operations really computed.",
        tables.markdown_table(tables.CLASS_HEADER, classes).rstrip(),
        "Accuracy on the first 100 test images of each class (fewer where a class has fewer); "
        '"within chance": no more than two standard errors of the difference.',
        *(
            f"![{plot['title']}]({plot['file']})\n\n{wording.markdown(plot['caption'])}"
            for plot in numbers["plots"]
        ),
    ]
    return "\n\n".join(lines) + "\n"


def text_tables(numbers: dict[str, Any]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The rows of the system table and of the class table as text, baseline first."""
    rows = [numbers["dense"], numbers["sel"]]
    systems = [tables.system_cells(tables.SystemRow(**row)) for row in rows]
    systems.append(tables.savings_cells(tables.Savings(**numbers["savings"])))
    systems += [tables.system_cells(tables.SystemRow(**row)) for row in numbers["published"]]
    return systems, [tables.class_cells(tables.ClassRow(**row)) for row in numbers["classes"]]


def _plots(
    dense: System, sel: System, reference: Reference | None, dense_path: Path, sel_path: Path
) -> list[Plot]:
    """Every plot of the comparison, in reading order."""
    try:
        from sel_edge.report.plots import classes, images, lines, style
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"The package {error.name} is not installed.",
            "Comparing runs draws plots with matplotlib.",
            "Install it with `pip install 'sel-edge[train]'`.",
        ) from error
    runs = lines.Comparison(dense, sel, reference)
    with style.styled():
        plots = [
            lines.head_to_head(runs),
            lines.accuracy_against_saved(runs),
            lines.cumulative_flops(runs),
            lines.training_time(runs),
            lines.frozen(runs),
            lines.accuracy(runs, dense, "accuracy-dense"),
            lines.accuracy(runs, sel, "accuracy-sel"),
            classes.bars(runs),
            classes.embarrassment(runs),
            classes.confidence(runs),
        ]
        for system, path, name in ((dense, dense_path, "dense"), (sel, sel_path, "sel")):
            samples = read_samples(path)
            if samples is not None and len(samples.labels):
                plots.append(
                    images.image_grid(samples, system.classes, system.label, f"grid-{name}")
                )
    return plots


def _require_comparable(dense_path: Path, dense: System, sel_path: Path, sel: System) -> None:
    if dense.is_staged and not sel.is_staged:
        raise DataError(
            f"{dense_path} is a staged run and {sel_path} is a dense one.",
            "The dense run is expected first and the staged one second.",
            f"Swap them: `sel-edge compare {sel_path} {dense_path}`.",
        )
    if dense.classes != sel.classes or _data_identity(dense) != _data_identity(sel):
        raise DataError(
            f"{dense_path} and {sel_path} were trained on different data.",
            "Two runs on the same data with the same classes and image size are expected.",
            "Pretrain one of them again with the other's --data.",
        )


def _data_identity(system: System) -> object:
    data = system.info.get("data", {})
    return data.get("sha256"), data.get("image_shape"), data.get("signal_shape")


def _images_per_class(system: System) -> int:
    test_images = system.info.get("data", {}).get("n_test")
    if not isinstance(test_images, int):
        return tables.FEW_IMAGES
    return max(1, min(tables.FEW_IMAGES, test_images // len(system.classes)))


def _setting(dense: System, sel: System) -> list[str]:
    """What both runs share and where they differ, one sentence each."""
    data = sel.info.get("data", {})
    lines = [f"Data: {data.get('spec', 'unknown')}."]
    if data.get("note"):
        lines.append(f"Note: {data['note']}.")
    for name, keys in _MAY_DIFFER.items():
        ours, theirs = _look_up(dense.info, keys), _look_up(sel.info, keys)
        if ours != theirs:
            lines.append(f"{name} differs: dense {ours}, SEL {theirs}.")
        elif ours is not None:
            lines.append(f"{name}: {ours}.")
    lines += _meters(dense, sel)
    for system in (dense, sel):
        if system.info.get("finished") is False:
            lines.append(f"The {system.label} run is not finished: {system.epochs} epochs so far.")
    return lines


def _meters(dense: System, sel: System) -> list[str]:
    """Which meter each run's joules come from and what it counts; once if it is the same."""
    said = {system.label: meter_words(system.info) for system in (dense, sel)}
    if said[dense.label] == said[sel.label]:
        said = {"": said[sel.label]}
    return [f"{label}: {words}" if label else words for label, words in said.items() if words]


def meter_words(info: Mapping[str, Any]) -> str:
    """The meter that a run.json names, and what it counts; "" if it names none."""
    meter, origin = (_look_up(info, ("energy", key)) for key in ("meter", "origin"))
    return wording.joules_by(str(meter), str(origin)) if meter and origin else ""


def _look_up(info: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        info = info.get(key) if isinstance(info, dict) else None
    return info
