"""Power sensors in the board's supply: INA219, INA226, INA260 and their like, through hwmon.

What a sensor measures is what its shunt is wired into; in the supply line that is the whole board.
The kernel's drivers show microwatts (`power1_input`), and those of chips that count energy
themselves microjoules (`energy1_input`), which is preferred.

Source: Linux documentation, "Kernel driver ina2xx" and "Naming and data format standards for sysfs
files"; TI data sheets SBOS448 (INA219), SBOS547 (INA226), SBOS656 (INA260).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sel_edge.core.measurement import Meter
from sel_edge.energy.counters import Counter, CounterMeter
from sel_edge.energy.sampled import SampledMeter
from sel_edge.energy.system import RefusedError, System, read_integer, read_text

CHIPS = (
    *("ina209", "ina219", "ina220", "ina226", "ina228", "ina230", "ina231", "ina232"),
    *("ina234", "ina237", "ina238", "ina260", "sq52206"),
)
SUPPLY = "supply"
"""Label that picks one of several sensors."""

_LARGEST_UW = 1_000_000_000  # a kilowatt: far above any board's supply
_SHORTEST_S, _LONGEST_S = 0.02, 1.0


def open_hwmon(system: System) -> Meter | None:
    """Joules of the sensor in the supply line; None where there is no such sensor.

    The INA226 and INA260 average between two updates, so sampling once per update leaves no gap.
    An INA219 shows one conversion of half a millisecond: bursts are sampled, not averaged.

    Raises:
        RefusedError: there are sensors, but they cannot be read or it is unclear which one counts.
    """
    sensors = [
        path for path in sorted((system.sys / "class" / "hwmon").glob("*")) if _is_ours(path)
    ]
    if not sensors:
        return None
    sensor = _the_supply(sensors)
    try:
        return _open(sensor)
    except (OSError, ValueError) as error:
        raise RefusedError(f"the power sensor {sensor.name} cannot be used: {error}") from error


def _open(sensor: Path) -> Meter:
    name = f"hwmon:{read_text(sensor / 'name')}"
    if (sensor / "energy1_input").exists():
        return CounterMeter(name, [Counter.open(sensor / "energy1_input")])
    return SampledMeter(name, partial(_watts, sensor / "power1_input"), _period_s(sensor))


def _watts(path: Path) -> float:
    return read_integer(path, 0, _LARGEST_UW) / 1e6


def _period_s(sensor: Path) -> float:
    """Seconds between two updates of the chip, where its driver says; never a busy loop."""
    try:
        update_s = read_integer(sensor / "update_interval", 0, 60_000) / 1e3
    except (OSError, ValueError):
        update_s = 0.0
    return min(max(update_s, _SHORTEST_S), _LONGEST_S)


def _is_ours(sensor: Path) -> bool:
    try:
        known = read_text(sensor / "name") in CHIPS
    except OSError:
        return False
    return known and any((sensor / file).exists() for file in ("energy1_input", "power1_input"))


def _the_supply(sensors: list[Path]) -> Path:
    labelled = [sensor for sensor in sensors if _label(sensor) == SUPPLY]
    candidates = labelled or sensors
    if len(candidates) > 1:
        # One may be behind the other, and their sum would count the same joules twice.
        found = ", ".join(sensor.name for sensor in candidates)
        raise RefusedError(
            f"there are several power sensors ({found}): give the one in the board's supply line "
            f"the label {SUPPLY!r} in the device tree"
        )
    return candidates[0]


def _label(sensor: Path) -> str:
    try:
        return read_text(sensor / "label")
    except OSError:
        return ""
