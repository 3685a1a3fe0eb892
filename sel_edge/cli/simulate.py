"""`sel-edge simulate`: replay days of a device on battery and sun in minutes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.cli.board import rates_of
from sel_edge.cli.finite import FiniteRange
from sel_edge.cli.learning_cost import learning_cost
from sel_edge.cli.machine import given_budget, require_fitting
from sel_edge.cli.options import budget_option, threads_option
from sel_edge.cli.run import FRAMES_PER_TICK
from sel_edge.cli.signals import stop_on_signal
from sel_edge.cli.supply import parse_supply
from sel_edge.core.budget import Budget
from sel_edge.core.errors import INTERRUPTED_EXIT_CODE
from sel_edge.core.files import require_free, write_atomic
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter, read_ledger
from sel_edge.data.stream import Stream, open_stream
from sel_edge.energy.profile import load_profile, profile_names
from sel_edge.report.wording import counted, scaled
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.opening import open_runtime
from sel_edge.simulate.board import SimulatedBoard, Supply, answer_traffic
from sel_edge.simulate.days import Schedule, live
from sel_edge.simulate.diary import Diary
from sel_edge.simulate.page import Setting, render
from sel_edge.simulate.summary import Summary, in_words, sum_up
from sel_edge.simulate.world import endless

STATE = "state"
PAGE_FILE, SERIES_FILE, SUMMARY_FILE = "simulation.html", "series.csv", "summary.json"
CELSIUS_MAX = 75.0
MAX_SEED = 2**31 - 1


@click.command("simulate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--source", required=True, help="Stream SPEC; begins again whenever it ends.")
@click.option(
    "--profile", required=True, help=f"The board: {', '.join(profile_names())}, or a .toml."
)
@click.option("--battery", required=True, help="Its capacity, for example 10Wh or 36kJ.")
@click.option(
    "--solar", required=True, help="What charges it: clear-sky:PEAK_W, or a CSV file time,watts."
)
@click.option(
    "--start-charge", default="50%", show_default=True, help="A share of the battery or an energy."
)
@click.option(
    "--days",
    type=FiniteRange(0, 3650, min_open=True),
    default=7,
    show_default=True,
    help="Virtual ones.",
)
@click.option(
    "--frames-per-day",
    type=click.IntRange(1, 10_000_000),
    default=2000,
    show_default=True,
    help="Evenly spread over day and night.",
)
@click.option(
    "--frames-per-tick",
    type=click.IntRange(1, 4096),
    default=FRAMES_PER_TICK,
    show_default=True,
    help="Frames answered, judged and written down together.",
)
@click.option(
    "--ambient-c",
    type=FiniteRange(-60, 80),
    default=25,
    show_default=True,
    help="Temperature of the air.",
)
@click.option(
    "--celsius-max",
    type=FiniteRange(-60, 150),
    help=f"Nothing is learned from there on; default: the budget's, else {CELSIUS_MAX:g}.",
)
@budget_option
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Of the stream's later passes, which show the same segments in another order.",
)
@threads_option
@click.option("--out", type=click.Path(path_type=Path), help="Default: BUNDLE.simulated.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON line.")
def command(
    bundle: Path,
    source: str,
    profile: str,
    battery: str,
    solar: str,
    start_charge: str,
    days: float,
    frames_per_day: int,
    frames_per_tick: int,
    ambient_c: float,
    celsius_max: float | None,
    budget: Path | None,
    seed: int,
    threads: int | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Simulate days of the bundle in directory BUNDLE on a board with a battery and the sun.

    The runtime is the real one, with the real stream; the board is computed. Time is virtual and
    starts at midnight: work takes the seconds and joules that the profile says, and nobody waits.
    The battery, its charge and the sun replace those of the budget. While the battery is empty the
    device is off and misses frames. Writes a page, every moment as CSV, a summary, and the state
    directory with the ledger to --out, which must be new. Ctrl-C ends the days early.
    """
    network, stream = open_bundle(bundle), open_stream(source)
    place = bundle.resolve()
    folder = out or place.with_name(f"{place.name}.simulated")
    require_fitting(network, stream, folder, "--out")
    require_free(folder)
    board_profile, supply = load_profile(profile), parse_supply(battery, start_charge, solar)
    job = _Job(
        network=network,
        stream=stream,
        folder=folder,
        limits=_limits(given_budget(budget), supply, celsius_max),
        supply=supply,
        board=SimulatedBoard(
            board_profile, rates_of(board_profile), supply, ambient_c, answer_traffic(network)
        ),
        schedule=Schedule(days, frames_per_day),
        threads=threads,
    )
    facts = {
        "Supply": f"{scaled(supply.capacity_j, 'J')}, {start_charge} at first, {solar}",
        "Schedule": f"{counted(frames_per_day, 'frame')} per day for {days:g} days",
        "Air": f"{ambient_c:g} °C",
        "Seed": str(seed),
    }
    with stop_on_signal() as stop:
        diary = job.live(frames_per_tick, seed, stop)
    summary = job.write(diary, Setting(place.name, source, board_profile.name, facts))
    if as_json:
        click.echo(json.dumps(asdict(summary)))
    else:
        lines = [*in_words(summary), learning_cost(diary.updates), f"Wrote {folder / PAGE_FILE}."]
        click.echo("\n".join(lines))
    return INTERRUPTED_EXIT_CODE if stop() else 0


def _limits(budget: Budget, supply: Supply, celsius_max: float | None) -> Budget:
    """The budget with this battery and this sun; degrees as given, else as there, else ours."""
    degrees = budget.celsius_max if celsius_max is None else celsius_max
    return replace(
        budget,
        capacity_j=supply.capacity_j,
        initial_j=supply.initial_j,
        refill=supply.sun,
        celsius_max=CELSIUS_MAX if degrees is None else degrees,
    )


@dataclass(frozen=True)
class _Job:
    """A simulation: what lives where, and within which limits."""

    network: Bundle
    stream: Stream
    folder: Path
    limits: Budget
    supply: Supply
    board: SimulatedBoard
    schedule: Schedule
    threads: int | None

    @property
    def ledger(self) -> Path:
        """Of the device."""
        return self.folder / STATE / LEDGER_FILE

    def live(self, frames_per_tick: int, seed: int, stop_requested: Callable[[], bool]) -> Diary:
        """Live through the days, or until somebody wants it to end."""
        console, diary = Console(stderr=True), Diary()
        frames = endless(self.stream, frames_per_tick, seed)
        with (
            LedgerWriter(self.ledger) as ledger,
            Progress(console=console, disable=not console.is_terminal, transient=True) as bar,
            closing(live(self.schedule, self.board, self._switch_on(ledger), frames)) as moments,
        ):
            task = bar.add_task("virtual time", total=self.schedule.end_s)
            for moment in moments:
                diary.add(moment)
                bar.update(task, completed=moment.time_s)
                if stop_requested():
                    break
        return diary

    def write(self, diary: Diary, setting: Setting) -> Summary:
        """Write what happened into the folder."""
        summary = sum_up(diary, self.board.drawn, self.supply)
        balances = read_ledger(self.ledger).balances
        page = render(setting, diary, summary, self.supply, self.limits.celsius_max, balances)
        write_atomic(self.folder / SERIES_FILE, diary.csv())
        write_atomic(self.folder / SUMMARY_FILE, json.dumps(asdict(summary)).encode() + b"\n")
        write_atomic(self.folder / PAGE_FILE, page.encode("utf-8", "replace"))
        return summary

    def _switch_on(self, ledger: LedgerWriter) -> Callable[[], Runtime]:
        machine = self.board.machine
        return lambda: open_runtime(
            self.network, ledger, machine, self.stream, self.limits, self.threads
        )
