"""Budget: what learning on a device may cost, as its owner writes it down."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sel_edge.core.cost import LARGEST
from sel_edge.core.errors import ConfigError
from sel_edge.core.solar import (
    ClearSkyDay,
    ConstantWatts,
    DutyCycle,
    RefillCurve,
    load_daily_curve,
)

_JOULES = {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "mWh": 3.6, "Wh": 3.6e3, "kWh": 3.6e6}
_ENERGIES = ("energy_j_per_day", "capacity_j", "initial_j")
_WHOLE = ("flops_per_day", "ram_bytes", "flash_writes_per_day")
_RANGES = {
    "watts_window_s": (1.0, 86_400.0, "from 1 to 86400 seconds"),
    "celsius_max": (-273.15, 1e3, "a temperature from -273.15 to 1000 degrees"),
    "celsius_hysteresis": (0.0, 1e3, "from 0 to 1000 degrees"),
    "capacity_j": (1e-3, LARGEST, "at least a millijoule"),
}
_REFILLS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., RefillCurve]]] = {
    "constant": (("power_w",), (), ConstantWatts),
    "duty-cycle": (("power_w", "on_s", "every_s"), (), DutyCycle),
    "clear-sky": (("peak_w",), ("sunrise_h", "sunset_h", "utc_offset_h"), ClearSkyDay),
    "csv": (("path",), ("utc_offset_h",), load_daily_curve),
}
"""Kind -> required keys, optional keys, what makes the curve of them."""


@dataclass(frozen=True)
class Budget:
    """Limits; None is no limit. All but the battery are for adaptation alone.

    Attributes:
        flops_per_day: executed FLOPs in any 24 hours.
        energy_j_per_day: joules in any 24 hours.
        watts_mean: mean watts over any `watts_window_s`.
        watts_window_s: from 1 to 86400 seconds.
        celsius_max: nothing is learned from this temperature on ...
        celsius_hysteresis: ... until it has fallen by this much; at least 0.
        ram_bytes: peak memory of one adaptation.
        flash_writes_per_day: writes in any 24 hours.
        capacity_j: joules of the battery, which inference draws on as well.
        initial_j: its charge at first, at most `capacity_j`; None is full.
        refill: what charges it; None is nothing.

    Raises:
        ConfigError: a value out of its range, or a charge or refill without a battery.
    """

    flops_per_day: int | None = None
    energy_j_per_day: float | None = None
    watts_mean: float | None = None
    watts_window_s: float = 600.0
    celsius_max: float | None = None
    celsius_hysteresis: float = 5.0
    ram_bytes: int | None = None
    flash_writes_per_day: int | None = None
    capacity_j: float | None = None
    initial_j: float | None = None
    refill: RefillCurve | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "refill" and value is not field.default:
                _check_number(field.name, value)
        if self.capacity_j is None and (self.initial_j is not None or self.refill is not None):
            raise ConfigError(
                "The budget has a charge or a refill without a battery.",
                "The battery's size is given as capacity_j.",
                "Add capacity_j, or leave out initial_j and refill.",
            )
        if self.capacity_j is not None and (self.initial_j or 0.0) > self.capacity_j:
            raise ConfigError(
                f"The budget has initial_j {self.initial_j} and capacity_j {self.capacity_j}.",
                "A battery holds at most its capacity.",
                "Correct the values.",
            )


def load_budget(path: Path) -> Budget:
    """Read a budget from a TOML file.

    Energies are joules, or texts with a unit (J, kJ, MJ, mWh, Wh, kWh). A CSV curve is looked for
    beside the budget file; its rows are `time,watts`.

    Example:
        ::

            flops_per_day = 2e12
            energy_j_per_day = "2Wh"
            watts_mean = 1.5
            watts_window_s = 600
            celsius_max = 75
            celsius_hysteresis = 5
            ram_bytes = 200_000_000
            flash_writes_per_day = 2000
            capacity_j = "10Wh"
            initial_j = "36kJ"

            [refill]
            kind = "clear-sky"    # or constant (power_w), duty-cycle (power_w, on_s, every_s)
            peak_w = 5            # or csv (path, utc_offset_h)
            sunrise_h = 6
            sunset_h = 18
            utc_offset_h = 2

    Raises:
        ConfigError: the file cannot be read, or has an unknown key or an impossible value.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The budget {path} cannot be read: {error}.",
            "A TOML file is expected.",
            "Correct the path or the file.",
        ) from error
    try:
        return _budget(values, path.parent)
    except ConfigError as error:
        raise ConfigError(f"In {path}: {error.found}", error.expected, error.action) from error


def parse_energy_j(text: str) -> float:
    """Joules of a text such as "10Wh", "36 kJ" or "500J".

    Raises:
        ConfigError: it is no number of at least 0 with one of the units J, kJ, MJ, mWh, Wh, kWh.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+)\s*", text)
    if not match or match[2] not in _JOULES:
        raise ConfigError(
            f"The energy {text!r} is not understood.",
            f"A number with one of the units {', '.join(_JOULES)} is expected, such as 10Wh.",
            "Correct the energy.",
        )
    return float(match[1]) * _JOULES[match[2]]


def _budget(values: dict[str, Any], folder: Path) -> Budget:
    _check_keys("The budget", values, tuple(field.name for field in fields(Budget)))
    if not isinstance(values.get("refill", {}), dict):
        raise ConfigError(
            f"The budget has refill = {values['refill']!r}.",
            "A table [refill] with its kind is expected.",
            "Write it as a table.",
        )
    read = dict(values)
    for name in _ENERGIES:
        if isinstance(read.get(name), str):
            read[name] = parse_energy_j(read[name])
    for name in _WHOLE:
        value = read.get(name)
        if isinstance(value, float) and value.is_integer():  # 2e12 is a float in TOML
            read[name] = int(value)
    if "refill" in read:
        read["refill"] = _refill(read["refill"], folder)
    return Budget(**read)


def _refill(table: dict[str, Any], folder: Path) -> RefillCurve:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in _REFILLS:
        raise ConfigError(
            f"The budget has a refill of kind {kind!r}.",
            f"One of {', '.join(_REFILLS)} is expected.",
            "Correct the kind.",
        )
    required, optional, make = _REFILLS[kind]
    given = {key: value for key, value in table.items() if key != "kind"}
    _check_keys(f"The {kind} refill", given, (*required, *optional))
    missing = [name for name in required if name not in given]
    if missing:
        raise ConfigError(
            f"The {kind} refill lacks {', '.join(missing)}.",
            f"It needs {', '.join(required)}.",
            "Add what is missing.",
        )
    for name, value in given.items():
        _check_type(name, value, str if name == "path" else float)
    if kind == "csv":
        given["path"] = folder / given["path"]
    return make(**given)


def _check_keys(what: str, values: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(values.keys() - set(known))
    if unknown:
        raise ConfigError(
            f"{what} has the unknown keys {', '.join(unknown)}.",
            f"Its keys are {', '.join(known)}.",
            "Correct or remove them.",
        )


def _check_type(name: str, value: object, kind: type[str] | type[float]) -> None:
    wanted: tuple[type, ...] = (str,) if kind is str else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise ConfigError(
            f"The budget has {name} = {value!r}.",
            f"{name} is a {'text' if kind is str else 'number'}.",
            "Correct the value.",
        )


def _check_number(name: str, value: Any) -> None:
    _check_type(name, value, float)
    low, high, rule = _RANGES.get(name, (0.0, LARGEST, "at least 0"))
    fits = low <= value <= high
    if name in _WHOLE:
        fits, rule = fits and isinstance(value, int), f"a whole number, {rule}"
    if not fits:
        raise ConfigError(
            f"The budget has {name} = {value!r}.",
            f"{name} is {rule}.",
            "Correct the value, or leave it out.",
        )
