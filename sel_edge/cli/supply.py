"""What a simulated board lives on, as options say it."""

from __future__ import annotations

import re
from pathlib import Path

from sel_edge.core.budget import parse_energy_j
from sel_edge.core.errors import ConfigError
from sel_edge.core.solar import ClearSkyDay, RefillCurve, load_daily_curve
from sel_edge.simulate.board import Supply

_CLEAR_SKY = "clear-sky:"
_LEAST_J = 1e-3
_SHARE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")


def parse_supply(battery: str, start_charge: str, solar: str) -> Supply:
    """A battery and its sun.

    Args:
        battery: its capacity, such as "10Wh".
        start_charge: "50%", or an energy such as "5Wh".
        solar: "clear-sky:PEAK_W", or the path of a CSV file with rows time,watts.

    Raises:
        ConfigError: one of them cannot be understood.
    """
    capacity_j = parse_energy_j(battery)
    if capacity_j < _LEAST_J:
        raise ConfigError(
            f"The battery {battery!r} holds nothing.",
            "A battery of at least a millijoule is expected.",
            "Give its capacity, for example --battery 10Wh.",
        )
    share = _SHARE.fullmatch(start_charge)
    initial_j = capacity_j * float(share[1]) / 100 if share else parse_energy_j(start_charge)
    if initial_j > capacity_j:
        raise ConfigError(
            f"The battery {battery!r} has {start_charge!r} at first.",
            "A battery holds at most its capacity.",
            "Correct --battery or --start-charge.",
        )
    return Supply(capacity_j, initial_j, _sun(solar))


def _sun(text: str) -> RefillCurve:
    if not text.startswith(_CLEAR_SKY):
        return load_daily_curve(Path(text))
    try:
        return ClearSkyDay(float(text.removeprefix(_CLEAR_SKY)))
    except ValueError as error:
        raise ConfigError(
            f"--solar {text!r} names no watts.",
            f"{_CLEAR_SKY}PEAK_W or a CSV file is expected, for example {_CLEAR_SKY}5.",
            "Correct the watts.",
        ) from error
