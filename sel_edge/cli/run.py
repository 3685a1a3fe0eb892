"""`sel-edge run`: run a bundle on a stream of frames and let it adapt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from sel_edge.bundle.bundle import open_bundle
from sel_edge.cli.learning_cost import learning_cost
from sel_edge.cli.machine import given_budget, named_board, require_fitting
from sel_edge.cli.options import budget_option, chosen_rungs, profile_option, threads_option
from sel_edge.cli.signals import stop_on_signal
from sel_edge.core.errors import INTERRUPTED_EXIT_CODE
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter, Update
from sel_edge.data.stream import Stream, open_stream
from sel_edge.report.numbers import collect, gather
from sel_edge.report.story import tell
from sel_edge.report.wording import printable
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.opening import open_runtime
from sel_edge.runtime.session import spare_memory

FRAMES_PER_TICK = 16


@click.command("run")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--source", required=True, help="Stream SPEC, for example digits:test?labels=0.1.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Directory of the ledger and of all that is learned; default: BUNDLE.state. A later run "
    "goes on there with the network learned so far, and reads its source from the beginning.",
)
@click.option(
    "--frames-per-tick",
    type=click.IntRange(1, 4096),
    default=FRAMES_PER_TICK,
    show_default=True,
    help="Frames answered, judged and written down together.",
)
@click.option(
    "--rungs",
    default=",".join(RuntimeConfig.rungs),
    show_default=True,
    help="Ways of learning; tail, deep and full are climbed as long as the guard confirms gains.",
)
@threads_option
@profile_option
@budget_option
@click.option("--json", "as_json", is_flag=True, help="Print the ledger's numbers at the end.")
def command(
    bundle: Path,
    source: str,
    state: Path | None,
    frames_per_tick: int,
    rungs: str,
    threads: int | None,
    profile: str | None,
    budget: Path | None,
    as_json: bool,
) -> int:
    """Run the bundle in directory BUNDLE on a stream, and let it adapt.

    Says in a line each what was noticed, learned, kept, rejected, put off or stopped, and at the
    end what learning took against what was predicted. Ctrl-C stops after the tick under way;
    everything up to it is in the ledger.
    """
    spare_memory()
    console, config = Console(stderr=True), RuntimeConfig(rungs=chosen_rungs(rungs))
    network, stream = open_bundle(bundle), open_stream(source)
    place = bundle.resolve()
    folder = state or place.with_name(f"{place.name}.state")
    require_fitting(network, stream, folder, "--state")
    limits, board = given_budget(budget), named_board(profile)
    learned: list[Update] = []
    with (
        stop_on_signal() as stop,
        LedgerWriter(folder / LEDGER_FILE) as ledger,
        open_runtime(network, ledger, board, stream, limits, threads, config) as runtime,
    ):
        complete = run_stream(runtime, stream, frames_per_tick, console, stop, learned)
    if not complete:
        click.echo("Interrupted; the ledger holds everything up to here.", err=True)
    click.echo(json.dumps(collect(folder)) if as_json else _in_words(folder, learned))
    return 0 if complete else INTERRUPTED_EXIT_CODE


def run_stream(
    runtime: Runtime,
    stream: Stream,
    frames_per_tick: int,
    console: Console,
    stop_requested: Callable[[], bool],
    learned: list[Update],
) -> bool:
    """Feed a stream to a runtime, printing what it found at its start and every decision.

    Args:
        runtime: an open runtime.
        stream: what it sees.
        frames_per_tick: how many frames at once.
        console: where to print.
        stop_requested: asked after every tick.
        learned: gets every update.

    Returns:
        Whether the stream came to its end.
    """
    segment = ""
    for note in runtime.notes:
        console.print(printable(note), highlight=False, markup=False, soft_wrap=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("frames", total=stream.n_frames)
        for batch in stream.batches(frames_per_tick):
            report = runtime.process(batch)
            if batch.segment != segment:
                segment = batch.segment
                _say(console, batch.start, f"segment {segment}")
            for decision in report.decisions:
                _say(console, decision.frame, f"{decision.kind}: {decision.reason}")
            learned += report.updates
            bar.advance(task, len(report.predictions))
            if stop_requested():
                return False
    return True


def _say(console: Console, frame: int, text: str) -> None:
    # Class names come from other people's folders.
    line = f"frame {frame:>6}  {printable(text)}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _in_words(folder: Path, learned: list[Update]) -> str:
    story = tell(gather(folder))
    place = f"The ledger is in {folder}."
    return "\n".join([story.title, *story.sentences, learning_cost(learned), place])
