"""`sel-edge energy`: fit a profile to a meter, and say what was spent."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sel_edge.cli.finite import FiniteRange
from sel_edge.core.errors import ConfigError, RunDirectoryError
from sel_edge.core.files import write_atomic
from sel_edge.core.ledger import LEDGER_FILE, Ledger, read_ledger
from sel_edge.core.measurement import Origin
from sel_edge.energy.calibrate import Calibration, calibrate, require_measured, run_loads, works
from sel_edge.energy.meter import choose_meter
from sel_edge.energy.profile import detect_profile, load_profile, load_sources, profile_names
from sel_edge.energy.profile_text import calibrated_sources, profile_text
from sel_edge.energy.sampled import SampledMeter
from sel_edge.energy.spent import DIVIDED, INFERENCE, WATCHING, Spent, spent
from sel_edge.report.wording import counted, duration, energy, joules_by, printable, scaled


@click.group("energy")
def command() -> None:
    """Joules: calibrate a profile to a meter, report what was spent."""


@command.command("calibrate")
@click.option("--profile", help=f"What is not measured: {', '.join(profile_names())} or a .toml.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The profile to write: NAME.toml."
)
@click.option(
    "--seconds",
    type=FiniteRange(5, 3600),
    default=60,
    show_default=True,
    help="For all loads together.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the fit as one JSON line.")
def calibrate_command(profile: str | None, out: Path, seconds: float, as_json: bool) -> int:
    """Run graded loads, read the meter, and write a profile with measured figures.

    Idles, multiplies matrices and copies memory at a third, two thirds and all of the time, and
    fits joules = idle watts * seconds + J/FLOP * operations + J/byte * bytes. Leave the machine
    alone meanwhile. Needs a meter: a machine that can only estimate is refused.
    """
    _require_new_profile(out)
    base = load_profile(profile) if profile else detect_profile()
    sources = load_sources(profile or base.name)
    meter = require_measured(choose_meter(base))
    loads = run_loads(meter, works(base.ram_bytes), seconds)
    done = calibrate(base, out.stem, meter.name, loads)
    heading = f"Calibrated from {base.name}: energy figures measured, the rest as there."
    text = profile_text(done.profile, calibrated_sources(done, sources), heading)
    write_atomic(out, text.encode())
    unseen_j = meter.uncertainty_j if isinstance(meter, SampledMeter) else 0.0
    if as_json:
        click.echo(json.dumps({**_as_dict(done, out), "unseen_j": unseen_j}))
        return 0
    click.echo("\n".join(_in_words(done)))
    if unseen_j:
        click.echo(f"Between its samples the meter may have missed {scaled(unseen_j, 'J')}.")
    click.echo(f"Wrote {out}.")
    return 0


@command.command("report")
@click.argument("ledger_or_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the sums as one JSON line.")
def report_command(ledger_or_dir: Path, as_json: bool) -> int:
    """Say how many joules a ledger, or every ledger under a directory, was charged with.

    By kind of work, measured and estimated joules apart.
    """
    ledgers = [(path, read_ledger(path)) for path in _ledgers(ledger_or_dir)]
    if as_json:
        click.echo(json.dumps({"ledgers": [_summed(path, each) for path, each in ledgers]}))
        return 0
    for path, each in ledgers:
        click.echo("\n".join(_told(path, each)))
    return 0


def _require_new_profile(out: Path) -> None:
    """Refuse, before minutes are spent, a file that cannot become a profile."""
    if out.suffix != ".toml" or not re.fullmatch(r"[A-Za-z0-9._-]+", out.stem):
        raise ConfigError(
            f"--out {out} is no name for a profile.",
            "Letters, digits, dots, hyphens and underscores, then .toml, are expected.",
            "Choose another name, for example my-board.toml.",
        )
    if out.exists() or out.is_symlink():
        raise RunDirectoryError(
            f"{out} already exists.",
            "A new file is expected, so that nothing is overwritten.",
            "Choose another --out or remove the old one first.",
        )


def _as_dict(done: Calibration, out: Path) -> dict[str, Any]:
    return {
        "profile": asdict(done.profile),
        "fit": asdict(done.fit),
        "loads": [asdict(load) for load in done.loads],
        "path": str(out),
    }


def _in_words(done: Calibration) -> list[str]:
    model, error = done.fit.model, done.fit.error
    return [
        joules_by(done.profile.measured_by, "measured"),
        f"idle    {scaled(model.idle_w, 'W')}, +- {scaled(error.idle_w, 'W')}",
        f"compute {model.j_per_flop:.3g} J/FLOP, +- {error.j_per_flop:.2g}, "
        f"{scaled(done.profile.flops_per_s, 'FLOP/s')}",
        f"memory  {model.j_per_byte:.3g} J/byte, +- {error.j_per_byte:.2g}, "
        f"{scaled(done.profile.bytes_per_s, 'B/s')}",
        f"The model leaves {scaled(done.fit.residual_w, 'W')} unexplained over "
        f"{counted(len(done.loads), 'load')}.",
    ]


def _ledgers(path: Path) -> list[Path]:
    """The ledger itself, or every ledger under a directory."""
    if not path.is_dir():
        return [path]
    found = sorted(path.rglob(LEDGER_FILE))
    if not found:
        raise RunDirectoryError(
            f"There is no {LEDGER_FILE} under {path}.",
            "The state directory of `sel-edge run`, or one above it, is expected.",
            "Check the path, or run `sel-edge run` first.",
        )
    return found


def _summed(path: Path, ledger: Ledger) -> dict[str, Any]:
    return {
        "path": str(path),
        "meters": [{"name": name, "origin": origin} for name, origin in _meters(ledger)],
        "spent": [asdict(each) for each in spent(ledger)],
    }


def _told(path: Path, ledger: Ledger) -> list[str]:
    sums = spent(ledger)
    kinds = [printable(each.kind) for each in sums]
    width = max(map(len, kinds), default=0)
    lines = [
        f"{kind:<{width}}  {_sum_in_words(each)}" for kind, each in zip(kinds, sums, strict=True)
    ]
    lines += [DIVIDED] if any(each.is_divided for each in sums) else []
    lines += [joules_by(printable(name), origin) for name, origin in _meters(ledger)]
    return [
        f"{printable(str(path))}:",
        *(f"  {line}" for line in lines or ["Nothing was spent yet."]),
    ]


def _meters(ledger: Ledger) -> list[tuple[str, Origin]]:
    return sorted({(session.meter, session.energy_origin) for session in ledger.sessions})


def _sum_in_words(sum_: Spent) -> str:
    noun = "tick" if sum_.kind in (INFERENCE, WATCHING) else "update"
    by_share = " (by share)" if sum_.is_divided else ""
    return (
        f"{energy(sum_.joules, sum_.origin)}{by_share}, {duration(sum_.seconds)}, "
        f"{scaled(sum_.executed_flops, 'FLOP')}, {counted(sum_.count, noun)}"
    )
