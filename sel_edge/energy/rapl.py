"""RAPL: the energy counters of x86 processor packages, through the kernel's powercap files.

A counter wraps around after range / watts seconds, and more than one wrap between two readings goes
unnoticed. Processors count 2**32 steps of their own size: steps of 15.3 uJ last 16 minutes at 70 W,
steps of 61 uJ an hour. Read at least once a minute.

Source: Linux documentation, "Power Capping Framework"; Intel SDM volume 3, "Platform Specific Power
Management Support".
"""

from __future__ import annotations

import re
from pathlib import Path

from sel_edge.core.measurement import Meter
from sel_edge.energy.counters import LARGEST_UJ, Counter, CounterMeter
from sel_edge.energy.system import RefusedError, System, read_integer, read_text


def open_rapl(system: System) -> Meter | None:
    """Joules of all processor packages, whatever runs on them; None where there are no counters.

    Raises:
        RefusedError: there are counters, but not every package's can be read: since Linux 5.10
            only root may.
    """
    try:
        packages = _packages(system.sys / "class" / "powercap")
    except PermissionError as error:
        raise RefusedError(
            f"the processor's energy counter {error.filename} may be read by root only: run as "
            "root, or allow it until the next start with `sudo chmod a+r "
            f"{system.sys}/class/powercap/intel-rapl:*/energy_uj`"
        ) from error
    except (OSError, ValueError) as error:
        # The sum of some packages would not be the energy.
        raise RefusedError(f"the processor's energy counters cannot be used: {error}") from error
    if not packages:
        return None
    return CounterMeter("rapl:" + "+".join(packages), list(packages.values()))


def _packages(powercap: Path) -> dict[str, Counter]:
    """Name -> counter of every package; raises OSError or ValueError unless all can be read."""
    # Sub-zones (intel-rapl:0:1) are part of their package, and intel-rapl-mmio repeats it.
    zones = [path for path in powercap.glob("*") if re.fullmatch(r"intel-rapl:\d+", path.name)]
    packages = {}
    for zone in sorted(zones, key=lambda path: int(path.name.rpartition(":")[2])):
        name = read_text(zone / "name")
        if re.fullmatch(r"package-\d+(-die-\d+)?", name):
            range_uj = read_integer(zone / "max_energy_range_uj", 1, LARGEST_UJ)
            packages[name] = Counter.open(zone / "energy_uj", range_uj)
    return packages
