"""The machine that a command runs on, as the runtime looks at it."""

from __future__ import annotations

import math
import time

from sel_edge.energy.meter import open_meter
from sel_edge.energy.profile import DeviceProfile, detect_profile
from sel_edge.energy.thermal import read_celsius, throttled
from sel_edge.runtime.board import Board, Heat, Rates

READ_EVERY_S = 2.0


def open_board(profile: DeviceProfile | None = None) -> Board:
    """This machine.

    Args:
        profile: what it is expected to take, and what its joules are estimated by where nothing can
            be measured; detected if left out.
    """
    profile = profile or detect_profile()
    return Board(meter=open_meter(profile), rates=rates_of(profile), heat=_Thermometer())


def rates_of(profile: DeviceProfile) -> Rates:
    """What a profile expects of operations and bytes."""
    return Rates(
        flops_per_s=profile.flops_per_s,
        bytes_per_s=profile.bytes_per_s,
        j_per_flop=profile.j_per_flop,
        j_per_byte=profile.j_per_byte,
    )


class _Thermometer:
    """Reads the temperature at most every `READ_EVERY_S`: asking a firmware starts a program."""

    def __init__(self) -> None:
        self._heat, self._read_s = Heat(), -math.inf

    def __call__(self) -> Heat:
        if time.monotonic() - self._read_s >= READ_EVERY_S:
            self._heat, self._read_s = Heat(read_celsius(), throttled()), time.monotonic()
        return self._heat
