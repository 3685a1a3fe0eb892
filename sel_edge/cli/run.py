"""`sel-edge run`: run a bundle on a stream of frames and let it adapt."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.cli.signals import stop_on_signal
from sel_edge.core import provenance
from sel_edge.core.errors import INTERRUPTED_EXIT_CODE, ConfigError, DataError
from sel_edge.core.frames import described
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter, Session
from sel_edge.core.measurement import Meter
from sel_edge.data.stream import Stream, open_stream
from sel_edge.energy.meter import open_meter
from sel_edge.energy.profile import load_profile, profile_names
from sel_edge.report.numbers import collect, gather
from sel_edge.report.story import tell
from sel_edge.report.wording import printable
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.session import spare_memory

FRAMES_PER_TICK = 16


@click.command("run")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--source", required=True, help="Stream SPEC, for example digits:test?labels=0.1.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Directory of the ledger and the heads; default: BUNDLE.state. A later run goes on there "
    "with the head learned so far, and reads its source from the beginning.",
)
@click.option(
    "--frames-per-tick",
    type=click.IntRange(1, 4096),
    default=FRAMES_PER_TICK,
    show_default=True,
    help="Frames answered, judged and written down together.",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), help="Threads of the engine; default: all cores."
)
@click.option("--profile", help=f"Board for estimated joules: {', '.join(profile_names())}.")
@click.option("--json", "as_json", is_flag=True, help="Print the ledger's numbers at the end.")
def command(
    bundle: Path,
    source: str,
    state: Path | None,
    frames_per_tick: int,
    threads: int | None,
    profile: str | None,
    as_json: bool,
) -> int:
    """Run the bundle in directory BUNDLE on a stream, and let it adapt.

    Ctrl-C stops after the tick under way; everything up to it is in the ledger.
    """
    spare_memory()
    console = Console(stderr=True)
    network, stream = open_bundle(bundle), open_stream(source)
    place = bundle.resolve()
    folder = state or place.with_name(f"{place.name}.state")
    _require_fitting(network, stream, folder)
    meter = open_meter(load_profile(profile) if profile else None)
    with (
        stop_on_signal() as stop,
        LedgerWriter(folder / LEDGER_FILE) as ledger,
    ):
        runtime = open_runtime(network, ledger, meter, stream, threads)
        complete = run_stream(runtime, stream, frames_per_tick, console, stop)
    if not complete:
        click.echo("Interrupted; the ledger holds everything up to here.", err=True)
    click.echo(json.dumps(collect(folder)) if as_json else _in_words(folder))
    return 0 if complete else INTERRUPTED_EXIT_CODE


def _require_fitting(network: Bundle, stream: Stream, state: Path) -> None:
    """Refuse, before anything is written, what can only fail or do harm.

    Raises:
        DataError: the stream's frames are not of the bundle's kind and shape.
        ConfigError: the state would lie inside the bundle, which would damage it.
    """
    expected = network.manifest.preprocessing.frame_shape
    if stream.frame_shape != expected:
        raise DataError(
            f"The frames of {stream.spec} are {described(stream.frame_shape)}.",
            f"The bundle was made for {described(expected)}.",
            "Name a source of that kind; ?size= and ?mode= convert images, and ?channels= says how "
            "rows of a text file divide.",
        )
    inside = state.resolve()
    if network.path.resolve() in (inside, *inside.parents):
        raise ConfigError(
            f"--state {state} lies inside the bundle.",
            "A bundle holds nothing but its own files.",
            "Choose a directory outside it.",
        )


def open_runtime(
    bundle: Bundle, ledger: LedgerWriter, meter: Meter, stream: Stream, threads: int | None = None
) -> Runtime:
    """A runtime whose ledger says what network runs, what it was trained on and what it sees."""
    manifest = bundle.manifest
    data = manifest.provenance.get("data")
    trained_on = f"{data.get('spec')}, {data.get('note')}" if isinstance(data, dict) else "unknown"
    name = f"{manifest.model.name} of width {manifest.model.width}"
    runtime = Runtime(bundle, ledger, meter, threads=threads)
    ledger.identify("network", f"{name}, trained on {trained_on}".rstrip(", "))
    ledger.record_session(
        Session(
            frame=ledger.frames(),
            started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            source=stream.spec,
            source_sha256=stream.sha256,
            note=stream.note,
            meter=meter.name,
            energy_origin=meter.origin,
            versions=provenance.versions(),
        )
    )
    return runtime


def run_stream(
    runtime: Runtime,
    stream: Stream,
    frames_per_tick: int,
    console: Console,
    stop_requested: Callable[[], bool],
) -> bool:
    """Feed a stream to a runtime, printing every decision.

    Returns:
        Whether the stream came to its end.
    """
    segment = ""
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("frames", total=stream.n_frames)
        for batch in stream.batches(frames_per_tick):
            report = runtime.process(batch)
            if batch.segment != segment:
                segment = batch.segment
                _say(console, batch.start, f"segment {segment}")
            for decision in report.decisions:
                _say(console, decision.frame, f"{decision.kind}: {decision.reason}")
            bar.advance(task, len(report.predictions))
            if stop_requested():
                return False
    return True


def _say(console: Console, frame: int, text: str) -> None:
    # Class names come from other people's folders.
    line = f"frame {frame:>6}  {printable(text)}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _in_words(folder: Path) -> str:
    story = tell(gather(folder))
    return "\n".join([story.title, *story.sentences, f"The ledger is in {folder}."])
