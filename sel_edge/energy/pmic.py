"""The power management chip of the Raspberry Pi 5: amperes and volts of every rail behind it.

`vcgencmd pmic_read_adc` prints one line per channel, "VDD_CORE_A current(7)=1.91102000A" and
"VDD_CORE_V volt(15)=0.87355220V". Watts are summed over the rails. What the board draws is more:
the losses of the converters, the fan and whatever hangs on USB and the 5 V pins do not pass a rail.
Published corrections exist (github.com/jfikar/RPi5-power); none is applied, for they are fits to
single boards.

Source: Raspberry Pi documentation, "vcgencmd"; output recorded on a Raspberry Pi 5 Model B Rev 1.0.
"""

from __future__ import annotations

import re
from functools import partial

from sel_edge.core.measurement import Meter
from sel_edge.energy.sampled import SampledMeter
from sel_edge.energy.system import RefusedError, System, ask_firmware, board

BOARDS = ("Raspberry Pi 5", "Raspberry Pi Compute Module 5")
"""Start of the names of boards with this chip; the 500 and 500+ are among them."""

_PERIOD_S = 0.5  # every sample starts a process, which takes some 10 ms of one core
_LINE = re.compile(
    r"(?P<rail>[0-9A-Z][0-9A-Z_]*)_"
    r"(?:A current\(\d{1,3}\)=(?P<amperes>\d{1,3}\.\d{1,12})A"
    r"|V volt\(\d{1,3}\)=(?P<volts>\d{1,3}\.\d{1,12})V)"
)
_VOLTS_ONLY = {"EXT5V", "BATT"}
_MOST_A, _MOST_V = 50.0, 30.0


def open_pmic(system: System) -> Meter | None:
    """Joules of all rails; None on boards without this chip.

    Raises:
        RefusedError: the board has one, and it cannot be asked.
    """
    if not board(system).startswith(BOARDS):
        return None
    try:
        return SampledMeter("pmic:rails", partial(_watts, system), _PERIOD_S)
    except (OSError, ValueError) as error:
        raise RefusedError(
            f"the board's power management chip cannot be asked ({error}): install vcgencmd, and "
            "add the user to the group video"
        ) from error


def rail_watts(printed: str) -> dict[str, float]:
    """Rail -> watts, from what `vcgencmd pmic_read_adc` prints.

    Raises:
        ValueError: a line of another form, a channel twice, a current without its voltage, a value
            that no such board can have, or no current at all.
    """
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for line in filter(None, map(str.strip, printed.splitlines())):
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"vcgencmd pmic_read_adc prints {line[:60]!r}")
        is_current = found["amperes"] is not None
        values, most = (amperes, _MOST_A) if is_current else (volts, _MOST_V)
        value = float(found["amperes"] if is_current else found["volts"])
        if found["rail"] in values or value > most:
            raise ValueError(f"vcgencmd pmic_read_adc prints {line[:60]!r} twice or out of range")
        values[found["rail"]] = value
    if not amperes or amperes.keys() ^ (volts.keys() - _VOLTS_ONLY):
        raise ValueError("vcgencmd pmic_read_adc prints currents and voltages that are no pairs")
    return {rail: current * volts[rail] for rail, current in amperes.items()}


def _watts(system: System) -> float:
    return sum(rail_watts(ask_firmware(system, "pmic_read_adc")).values())
