"""Meters: joules read from the processor's own counters, or estimated from processor time."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from sel_edge.core.errors import MissingDependencyError
from sel_edge.core.measurement import Meter, Origin
from sel_edge.energy.profile import DeviceProfile, detect_profile

POWERCAP = Path("/sys/class/powercap")


@dataclass
class _Package:
    """One RAPL counter in microjoules that wraps around at `range_uj`."""

    name: str
    counter: Path
    range_uj: int
    last_uj: int
    total_uj: int = 0

    def read_uj(self) -> int:
        now = int(self.counter.read_text())
        # A counter that fell has wrapped around once; meters are read far more often than that.
        self.total_uj += now - self.last_uj if now >= self.last_uj else now + self._rest()
        self.last_uj = now
        return self.total_uj

    def _rest(self) -> int:
        return self.range_uj - self.last_uj


class RaplMeter:
    """Joules of all processor packages, whatever runs on them, as the processor counts them.

    A counter wraps around after range_uj / 1e6 / watts seconds, and more than one wrap between two
    readings goes unnoticed. Processors count 2**32 steps of their own size: steps of 15.3 uJ last
    16 minutes at 70 W, steps of 61 uJ an hour. Read at least once a minute.
    """

    origin: Origin = "measured"

    def __init__(self, packages: list[_Package]) -> None:
        self._packages = packages
        self.name = "rapl:" + "+".join(package.name for package in packages)

    def read_j(self) -> float:
        """Joules since the meter was opened.

        Raises:
            MissingDependencyError: the counters can no longer be read.
        """
        try:
            return sum(package.read_uj() for package in self._packages) / 1e6
        except (OSError, ValueError) as error:
            raise MissingDependencyError(
                f"The energy counters of this machine can no longer be read: {error}.",
                "Counters that were readable at the start are expected to stay so.",
                "Run the command again; it falls back to the profile's estimate if need be.",
            ) from error


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


def open_meter(profile: DeviceProfile | None = None, powercap: Path = POWERCAP) -> Meter:
    """The best meter this machine has.

    Args:
        profile: the board to estimate by where nothing can be measured; detected if left out.
        powercap: the kernel's powercap directory.
    """
    packages = _readable_packages(powercap)
    return RaplMeter(packages) if packages else EstimatedMeter(profile or detect_profile())


def _readable_packages(powercap: Path) -> list[_Package]:
    """The processor packages; empty unless every one of them can be read."""
    # Sub-zones (intel-rapl:0:1) are part of their package, and intel-rapl-mmio repeats it.
    zones = [path for path in powercap.glob("*") if re.fullmatch(r"intel-rapl:\d+", path.name)]
    packages = []
    try:
        for zone in sorted(zones, key=lambda path: int(path.name.rpartition(":")[2])):
            name = (zone / "name").read_text().strip()
            if name.startswith("package"):
                counter = zone / "energy_uj"
                range_uj = int((zone / "max_energy_range_uj").read_text())
                packages.append(_Package(name, counter, range_uj, int(counter.read_text())))
    except (OSError, ValueError):
        return []  # usual for anyone but root; the sum of some packages would not be the energy
    return packages
