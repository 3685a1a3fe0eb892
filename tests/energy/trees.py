"""Trees as the kernel lays them out on boards with and without sensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sel_edge.energy.system import System

RANGE_UJ = 1_000_000

HOSTILE = ["", "-1", "many", "1e9", "0x10", "1_0", "\u0661", "9" * 30, "\0\xff", "1 2", "+5"]
"""What a file of a number from 0 on must not be mistaken for one."""

PI5_IDLE = """\
 3V7_WL_SW_A current(0)=0.00780744A
   3V3_SYS_A current(1)=0.12199130A
  DDR_VDDQ_A current(4)=0.00000000A
  VDD_CORE_A current(7)=0.75012000A
 3V7_WL_SW_V volt(8)=3.71740800V
   3V3_SYS_V volt(9)=3.31745700V
  DDR_VDDQ_V volt(12)=0.60146460V
  VDD_CORE_V volt(15)=0.72000000V
     EXT5V_V volt(24)=5.09066000V
      BATT_V volt(25)=0.00000000V
"""
PI5_IDLE_W = (
    0.00780744 * 3.717408 + 0.1219913 * 3.317457 + 0.75012 * 0.72  # rail by rail
)


@dataclass(frozen=True)
class Tree:
    """A machine under a temporary directory; a new one has nothing to say."""

    root: Path

    @property
    def system(self) -> System:
        return System(self.root / "sys", self.root / "model", str(self.root / "vcgencmd"))

    def write(self, path: str, text: object) -> Path:
        file = self.root / "sys" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
        return file

    def board(self, name: str) -> None:
        (self.root / "model").write_bytes(name.encode() + b"\0")

    def zone(self, folder: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> Path:
        """A powercap zone; the counter's file."""
        place = f"class/powercap/{folder}"
        self.write(f"{place}/name", name)
        self.write(f"{place}/max_energy_range_uj", range_uj)
        return self.write(f"{place}/energy_uj", energy_uj)

    def laptop(self) -> Path:
        """One package with its core and uncore, its memory-mapped twin, and the platform."""
        counter = self.zone("intel-rapl:0", "package-0", 250_000)
        self.zone("intel-rapl:0:0", "core", 1)
        self.zone("intel-rapl:0:1", "uncore", 2)
        self.zone("intel-rapl:1", "psys", 3)
        self.zone("intel-rapl-mmio:0", "package-0", 250_000)
        return counter

    def sensor(self, chip: str, number: int = 0, **channels: object) -> Path:
        """A hwmon device with such files; its directory."""
        for name, value in {"name": chip, **channels}.items():
            self.write(f"class/hwmon/hwmon{number}/{name}", value)
        return self.root / "sys" / "class" / "hwmon" / f"hwmon{number}"

    def thermal_zone(self, number: int, kind: str, millicelsius: object) -> Path:
        self.write(f"class/thermal/thermal_zone{number}/type", kind)
        return self.write(f"class/thermal/thermal_zone{number}/temp", millicelsius)

    def firmware(self, script: str) -> None:
        """A vcgencmd that does what the shell script says."""
        path = self.root / "vcgencmd"
        # Replaced in one step: a program that is being executed cannot be written to.
        draft = self.root / "vcgencmd.new"
        draft.write_text(f"#!/bin/sh\n{script}\n")
        draft.chmod(0o755)
        draft.replace(path)

    def firmware_says(self, text: str) -> None:
        (self.root / "answer").write_text(text)
        self.firmware(f"cat '{self.root}/answer'")


def ticking(step_s: float = 1.0) -> Iterator[float]:
    """Seconds that pass between one look at a clock and the next."""
    now = 0.0
    while True:
        yield now
        now += step_s
