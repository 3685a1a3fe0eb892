"""Which meter this machine has: a sensor or counter where one can be read, else the profile."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sel_edge.core.measurement import Meter, Origin
from sel_edge.energy.hwmon import open_hwmon
from sel_edge.energy.pmic import open_pmic
from sel_edge.energy.profile import DeviceProfile, detect_profile
from sel_edge.energy.rapl import open_rapl
from sel_edge.energy.system import THIS_MACHINE, RefusedError, System

# The more of the board a meter sees, the earlier it is asked.
_SOURCES = (open_hwmon, open_pmic, open_rapl)


class EstimatedMeter:
    """Joules above idle by a device profile: watts per busy core times processor seconds.

    The processor time is this process's own, over all its threads, and the watts are
    (load_w - idle_w) / cores. What the board draws while idle is not counted.
    """

    origin: Origin = "estimated"

    def __init__(self, profile: DeviceProfile) -> None:
        self.name = f"profile:{profile.name}"
        self._watts_per_core = (profile.load_w - profile.idle_w) / profile.cores
        self._start_s = time.process_time()

    def read_j(self) -> float:
        """Joules since the meter was opened."""
        return self._watts_per_core * (time.process_time() - self._start_s)


@dataclass(frozen=True)
class Choice:
    """The best meter, and why no better one.

    Attributes:
        meter: measured if any source could be opened, else estimated.
        refused: a sentence without a full stop for every source that is there and cannot be used.
    """

    meter: Meter
    refused: tuple[str, ...]


def choose_meter(profile: DeviceProfile | None = None, system: System = THIS_MACHINE) -> Choice:
    """The best meter this machine has, with what stood in the way of better ones.

    Args:
        profile: the board to estimate by where nothing can be measured; detected if left out.
        system: where to look.
    """
    refused = []
    for open_source in _SOURCES:
        try:
            meter = open_source(system)
        except RefusedError as error:
            refused.append(str(error))
        else:
            if meter is not None:
                return Choice(meter, tuple(refused))
    return Choice(EstimatedMeter(profile or detect_profile(system)), tuple(refused))


def open_meter(profile: DeviceProfile | None = None, system: System = THIS_MACHINE) -> Meter:
    """The best meter this machine has; see `choose_meter`."""
    return choose_meter(profile, system).meter
