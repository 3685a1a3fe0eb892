"""`sel-edge demo`: the main job on one data set, from the first weights to the report."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from sel_edge import zoo
from sel_edge.cli.board import open_board
from sel_edge.cli.demo_stream import NEW_CLASSES, DemoStream, plan_stream
from sel_edge.cli.export import export_run
from sel_edge.cli.finite import FiniteRange
from sel_edge.cli.learning_cost import learning_cost
from sel_edge.cli.pretrain import MAX_SEED, start
from sel_edge.cli.run import FRAMES_PER_TICK, run_stream
from sel_edge.core.files import require_free, storage_errors, write_atomic
from sel_edge.core.ledger import LEDGER_FILE, Ledger, LedgerWriter, Update, read_ledger
from sel_edge.data.sources import load_splits
from sel_edge.data.stream import open_stream
from sel_edge.pretrain.describe import RunOptions
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.recipe import load_recipe
from sel_edge.report.compare import write_compare
from sel_edge.report.page import write_report
from sel_edge.runtime.opening import open_runtime

RECIPES = ("dense", "sel-paper")
HOLDOUT = 20
WIDTH = 16
MARKER = ".sel-edge-demo"
# Names of the probes for people, and in summary.json.
PROBES = {"shifted images": "shifted", "new classes": "new", "known classes": "old"}
# A digit in a mirror is another sign, and it fills its small image.
DIGITS_OVERRIDES = ("crop_padding = 2", "flip = false")


@click.command("demo")
@click.option("--data", default="digits?size=16", show_default=True, help="Data SPEC.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="The directory of everything the demo makes.",
)
@click.option("--replace", is_flag=True, help="Replace an earlier demo in --out.")
@click.option(
    "--epochs-scale",
    type=FiniteRange(0, 100, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiply the epochs of both recipes.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Of both pretraining runs.",
)
def command(data: str, out: Path, replace: bool, epochs_scale: float, seed: int) -> int:
    """Run the main job on one data set and end with a table and an HTML report.

    Pretrains on all classes but the last two, dense and sel-paper; compares the two; exports the
    dense network; streams frames in which first nothing changes, then the image domain shifts, then
    the two unseen classes appear with a few labels; and reports what the runtime made of it.
    Where the package holds networks pretrained on the same classes, those are used, unless --seed
    or --epochs-scale asks for other ones.
    """
    started = time.perf_counter()
    console = Console(stderr=True)
    _require_replaceable(out, replace)
    splits = load_splits(data)
    plan = plan_stream(data, splits)
    _prepare(out)
    runs = {}
    if (epochs_scale, seed) == (1.0, 0):
        runs = zoo.find(splits.train.classes[:-NEW_CLASSES], splits.train.images.shape[1:])
    if runs:
        console.print(f"Using the networks that come with sel-edge: {runs['dense'].parent}.")
    else:
        runs = {
            recipe: _pretrain(out / recipe, recipe, plan.known, epochs_scale, seed, console)
            for recipe in RECIPES
        }
    console.rule("compare")
    comparison = write_compare(runs["dense"], runs["sel-paper"], out / "compare")
    console.rule("export and run")
    ledger = _adapt(runs["dense"], plan, out, console)
    page = write_report(out)
    summary = summarize(comparison, ledger, plan.unchanged_frames)
    summary |= {"pretrained": "zoo" if runs["dense"].parent != out else "here"}
    summary |= {"seconds": time.perf_counter() - started, "report": str(page)}
    write_atomic(out / "summary.json", json.dumps(summary).encode() + b"\n")
    Console().print(_table(summary))
    click.echo(f"Report: {page.resolve()}")
    return 0


def _require_replaceable(out: Path, replace: bool) -> None:
    """Only an earlier demo is ever replaced, and only when asked."""
    if not (replace and not out.is_symlink() and (out / MARKER).is_file()):
        require_free(out)


def _prepare(out: Path) -> None:
    """An empty directory that is known to be a demo's."""
    with storage_errors(out):
        if (out / MARKER).is_file():
            shutil.rmtree(out)
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).touch()


def _pretrain(
    out: Path, name: str, data: str, epochs_scale: float, seed: int, console: Console
) -> Path:
    console.rule(f"pretrain {name}")
    overrides = DIGITS_OVERRIDES if data.startswith("digits") else ()
    recipe = load_recipe(name, overrides).scaled(epochs_scale)
    options = RunOptions(
        data=data, recipe=recipe, width=WIDTH, seed=seed, holdout=HOLDOUT, epochs_scale=epochs_scale
    )
    try:
        start(out, options, console)
    except RunInterruptedError as error:
        raise click.Abort from error
    return out


def _adapt(run: Path, plan: DemoStream, out: Path, console: Console) -> Ledger:
    """Export, stream and evaluate before and after, on frames that the stream never shows."""
    bundle, difference = export_run(run, out / "bundle", plan.known)
    console.print(f"Bundle within {difference:.1e} of torch.")
    stream, learned = open_stream(plan.source), list[Update]()
    with (
        LedgerWriter(out / "device" / LEDGER_FILE) as writer,
        open_runtime(bundle, writer, open_board(), stream) as runtime,
    ):
        probes = {words: open_stream(plan.probes[name]) for words, name in PROBES.items()}
        for name, probe in probes.items():
            runtime.evaluate("before", name, probe.batches(FRAMES_PER_TICK))
        run_stream(runtime, stream, FRAMES_PER_TICK, console, lambda: False, learned)
        for name, probe in probes.items():
            runtime.evaluate("after", name, probe.batches(FRAMES_PER_TICK))
    console.print(learning_cost(learned), highlight=False, soft_wrap=True)
    return read_ledger(out / "device" / LEDGER_FILE)


def summarize(comparison: dict[str, Any], ledger: Ledger, unchanged_frames: int) -> dict[str, Any]:
    """The demo's numbers: shares of 1, counts of triggers."""
    fired = [decision.frame for decision in ledger.decisions if decision.kind == "fire"]
    summary: dict[str, Any] = {
        "dense_accuracy": comparison["dense"]["test_full_acc"],
        "sel_accuracy": comparison["sel"]["test_full_acc"],
        "paper_flops_saved": comparison["savings"]["paper_flops"],
        "executed_flops_saved": comparison["savings"]["executed_flops"],
    }
    for evaluation in ledger.evaluations:
        key = f"accuracy_{PROBES[evaluation.subset]}_{evaluation.name}"
        summary[key] = evaluation.correct / evaluation.n
    return summary | {
        "triggers": len(fired),
        "false_triggers": sum(frame <= unchanged_frames for frame in fired),
    }


def _table(summary: dict[str, Any]) -> Table:
    table = Table(title="What happened", title_justify="left")
    for column in ("", "before", "after"):
        table.add_column(column, justify="left" if column == "" else "right")
    for words, name in PROBES.items():
        values = (summary[f"accuracy_{name}_{when}"] for when in ("before", "after"))
        table.add_row(f"accuracy, {words}", *(f"{value:.1%}" for value in values))
    table.add_section()
    table.add_row("", "dense", "sel-paper")
    table.add_row(
        "pretraining accuracy", f"{summary['dense_accuracy']:.1%}", f"{summary['sel_accuracy']:.1%}"
    )
    table.add_row("FLOPs saved on paper", "", f"{summary['paper_flops_saved']:.1%}")
    table.add_row("FLOPs saved, executed", "", f"{summary['executed_flops_saved']:.1%}")
    table.add_section()
    table.add_row("triggers", "", str(summary["triggers"]))
    table.add_row("of these while nothing changed", "", str(summary["false_triggers"]))
    return table
