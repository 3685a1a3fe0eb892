"""How warm the processor is, how fast it runs, and whether something slows it down.

Source: Linux documentation, "Generic Thermal Sysfs driver How To"; Raspberry Pi documentation,
"vcgencmd", get_throttled.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path

from sel_edge.energy.system import (
    THIS_MACHINE,
    System,
    ask_firmware,
    board,
    read_integer,
    read_text,
)

_COLDEST_MC, _HOTTEST_MC = -40_000, 150_000
_PROCESSOR = ("cpu", "soc", "pkg")
_SLOWING = ("cpufreq", "processor")


class Throttling(enum.Flag):
    """What slows a board down, now (low bits) or at some time since it started (high bits)."""

    UNDER_VOLTAGE = 1 << 0
    FREQUENCY_CAPPED = 1 << 1
    THROTTLED = 1 << 2
    SOFT_LIMIT = 1 << 3
    UNDER_VOLTAGE_OCCURRED = 1 << 16
    FREQUENCY_CAPPED_OCCURRED = 1 << 17
    THROTTLED_OCCURRED = 1 << 18
    SOFT_LIMIT_OCCURRED = 1 << 19

    @property
    def now(self) -> Throttling:
        """Only what slows it down at this moment."""
        return self & _NOW

    def words(self) -> list[str]:
        """One phrase for every flag: "under-voltage", "throttled since it started"."""
        return [
            (flag.name or "").removesuffix("_OCCURRED").lower().replace("_", " ")
            + ("" if flag in _NOW else " since it started")
            for flag in self
        ]


_NOW = (
    Throttling.UNDER_VOLTAGE
    | Throttling.FREQUENCY_CAPPED
    | Throttling.THROTTLED
    | Throttling.SOFT_LIMIT
)
_ALL = sum(flag.value for flag in Throttling)


def read_celsius(system: System = THIS_MACHINE) -> float | None:
    """Degrees of the hottest zone of the processor, else of the hottest zone, else None.

    Zones that cannot be read, or show less than -40 or more than 150 degrees, are left out.
    """
    zones = [
        (kind, celsius)
        for path in (system.sys / "class" / "thermal").glob("thermal_zone*")
        if (celsius := _celsius(path / "temp")) is not None and (kind := _kind(path)) is not None
    ]
    of_processor = [celsius for kind, celsius in zones if any(word in kind for word in _PROCESSOR)]
    return max(of_processor or [celsius for _, celsius in zones], default=None)


def read_throttling(system: System = THIS_MACHINE) -> Throttling | None:
    """What slows the board down, by the Pi's firmware and by the kernel; None if neither says."""
    firmware, kernel = _firmware_flags(system), _kernel_flags(system)
    if firmware is None and kernel is None:
        return None
    return (firmware or Throttling(0)) | (kernel or Throttling(0))


def throttled(system: System = THIS_MACHINE) -> bool:
    """Whether anything is known to slow the board down at this moment."""
    flags = read_throttling(system)
    return flags is not None and bool(flags.now)


def read_clock_hz(system: System = THIS_MACHINE) -> int | None:
    """The fastest core's clock in Hz as the kernel set it, or None if it does not say."""
    clocks = []
    for path in (system.sys / "devices" / "system" / "cpu").glob("cpu[0-9]*"):
        try:
            khz = read_integer(path / "cpufreq" / "scaling_cur_freq", 1, 100_000_000)
        except (OSError, ValueError):
            continue
        clocks.append(khz * 1000)
    return max(clocks, default=None)


def _celsius(path: Path) -> float | None:
    try:
        return read_integer(path, _COLDEST_MC, _HOTTEST_MC) / 1e3
    except (OSError, ValueError):
        return None


def _kind(path: Path) -> str | None:
    try:
        return read_text(path / "type").lower()
    except OSError:
        return None


def _firmware_flags(system: System) -> Throttling | None:
    """The bits that the Pi's firmware reports; bits without a meaning are dropped."""
    path = system.sys / "devices" / "platform" / "soc" / "soc:firmware" / "get_throttled"
    try:
        answer = read_text(path)
    except OSError:
        if not board(system).startswith("Raspberry Pi"):
            return None
        try:
            answer = ask_firmware(system, "get_throttled").strip().removeprefix("throttled=")
        except OSError:
            return None
    found = re.fullmatch(r"(?:0x)?([0-9a-fA-F]{1,8})", answer)
    return None if found is None else Throttling(int(found[1], 16) & _ALL)


def _kernel_flags(system: System) -> Throttling | None:
    """Whether a thermal governor holds the processor's clock down, where one could."""
    states = []
    for path in (system.sys / "class" / "thermal").glob("cooling_device*"):
        kind = _kind(path)
        if kind is None or not any(word in kind for word in _SLOWING):
            continue
        try:
            states.append(read_integer(path / "cur_state", 0, 10_000))
        except (OSError, ValueError):
            continue
    if not states:
        return None
    return Throttling.FREQUENCY_CAPPED if any(states) else Throttling(0)
