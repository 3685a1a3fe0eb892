"""`sel-edge devices`: the board profiles, and which one fits this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from sel_edge.energy.meter import choose_meter
from sel_edge.energy.profile import (
    DeviceProfile,
    detect_profile,
    load_profile,
    load_sources,
    profile_names,
)
from sel_edge.energy.thermal import read_celsius, read_clock_hz, read_throttling
from sel_edge.report.wording import printable, scaled

HEADING = ("profile", "cores", "clock", "memory", "idle", "load", "speed")


@click.command("devices")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON line.")
def command(name: str | None, as_json: bool) -> int:
    """List the board profiles, what this machine is detected as, and what it can measure.

    With NAME, or the path of a .toml file, show every value of that profile with its source.
    """
    if name is not None:
        profile, sources = load_profile(name), load_sources(name)
        if as_json:
            click.echo(json.dumps({"profile": asdict(profile), "sources": sources}))
        else:
            _print_lines(_shown(profile, sources))
        return 0
    profiles = [load_profile(each) for each in profile_names()]
    here = machine()
    if as_json:
        click.echo(json.dumps({"profiles": [asdict(each) for each in profiles], "machine": here}))
        return 0
    _print_lines(_listed(profiles, here["profile"]))
    click.echo("")
    for line in _described(here):
        click.echo(line)
    return 0


def machine() -> dict[str, Any]:
    """What this machine is taken for, and what it can say about itself; None where it is silent."""
    choice, flags = choose_meter(), read_throttling()
    return {
        "profile": detect_profile().name,
        "meter": choice.meter.name,
        "energy_origin": choice.meter.origin,
        "refused": list(choice.refused),
        "celsius": read_celsius(),
        "clock_hz": read_clock_hz(),
        "throttling": None if flags is None else flags.words(),
    }


def _listed(profiles: list[DeviceProfile], detected: str) -> list[tuple[str, ...]]:
    rows = [
        (
            f"{each.name}{' *' if each.name == detected else ''}",
            str(each.cores),
            scaled(each.clock_hz, "Hz"),
            f"{each.ram_bytes / 2**20:,.4g} MiB",
            scaled(each.idle_w, "W"),
            scaled(each.load_w, "W"),
            scaled(each.flops_per_s, "FLOP/s"),
        )
        for each in profiles
    ]
    return [HEADING, *rows]


def _described(here: dict[str, Any]) -> list[str]:
    celsius, clock_hz, flags = here["celsius"], here["clock_hz"], here["throttling"]
    lines = [
        f"* This machine is taken for {here['profile']}.",
        f"Energy: {here['energy_origin']}, from {printable(here['meter'])}.",
        *(f"Not used: {printable(reason)}." for reason in here["refused"]),
        f"Temperature: {'not known' if celsius is None else f'{celsius:.1f} C'}.",
        f"Clock: {'not known' if clock_hz is None else scaled(clock_hz, 'Hz')}.",
    ]
    slowed = "not known" if flags is None else ", ".join(flags) or "by nothing"
    return [*lines, f"Slowed down: {slowed}."]


def _shown(profile: DeviceProfile, sources: dict[str, str]) -> list[tuple[str, ...]]:
    values = asdict(profile)
    values |= {f"flash.{key}": value for key, value in (values.pop("flash") or {}).items()}
    return [
        (key, _written(value), printable(sources.get(key, "")))
        for key, value in values.items()
        if value != ""
    ]


def _written(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _print_lines(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(map(str.ljust, row, widths)).rstrip())
