"""How warm a board gets: one heat capacity behind one thermal resistance.

The resistance is such that the board, at its profile's load_w for ever and in air of
`ROOM_CELSIUS`, just reaches its celsius_max. That is an assumption. Of a Raspberry Pi Zero 2 W it
says 77 C under full load in air of 22 C, where 74 C was measured on the bare board and 81 C in its
case (picockpit.com, "Does the Raspberry Pi Zero 2 require a heat sink?"). The time constant is read
from a Zero 2 W in its case that warmed from 47 C to 80 C in three and a half to four minutes
(scruss.com, 2021-11-12): two minutes, if it was to end at 85 C, three, if at 95 C. Fans, wind and
the sun on the housing are left out, and so is what throttling does to the clock.
"""

from __future__ import annotations

import math

from sel_edge.energy.profile import DeviceProfile

ROOM_CELSIUS = 25.0
TIME_CONSTANT_S = 150.0


class Warmth:
    """The temperature of a processor.

    Args:
        profile: the board.
        ambient_celsius: of the air around it, and of the processor at first.

    Attributes:
        celsius: now.
    """

    def __init__(self, profile: DeviceProfile, ambient_celsius: float) -> None:
        self._kelvin_per_w = (profile.celsius_max - ROOM_CELSIUS) / profile.load_w
        self._ambient_celsius = ambient_celsius
        self.celsius = ambient_celsius

    def after(self, seconds: float, watts: float) -> None:
        """Go on to where it is after a time, 0 or more, in which the board drew this on average."""
        goal = self._ambient_celsius + self._kelvin_per_w * watts
        self.celsius = goal + (self.celsius - goal) * math.exp(-seconds / TIME_CONSTANT_S)
