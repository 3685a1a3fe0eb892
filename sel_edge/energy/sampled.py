"""Meters on hardware that shows watts: a thread samples them, trapezoids add them up.

Reading watts only when someone asks would miss whatever happened in between: a tick of 50 ms that
ends in a pause would be charged with the pause's watts. So a thread samples all the time. What it
cannot see is a change within one period; `uncertainty_j` bounds that.
"""

from __future__ import annotations

import errno
import threading
import time
import weakref
from collections.abc import Callable

from sel_edge.core.measurement import Origin
from sel_edge.energy.system import lost

_GLITCHES = (errno.EIO, errno.EREMOTEIO, errno.EAGAIN, errno.ETIMEDOUT, errno.EBUSY)
"""What a bus answers now and then; the next sample usually succeeds."""
_GLITCHES_IN_A_ROW = 5


class PowerIntegral:
    """Joules from samples of watts, by the trapezoidal rule.

    Time is `time.monotonic`'s, which stands still while the machine is suspended.

    Args:
        read_w: watts now; raises OSError or ValueError.
        clock: seconds that never fall.

    Attributes:
        joules: since the first sample.
        uncertainty_j: how far `joules` can be off if the watts changed at most once, or only in one
            direction, between any two samples: half of |difference| * seconds, summed. Bursts
            shorter than a period are hit or missed; they average out over many, not over one.
        failure: why there are no more samples, or None.
    """

    def __init__(self, read_w: Callable[[], float], clock: Callable[[], float]) -> None:
        self._read_w, self._clock = read_w, clock
        self._at_s, self._watts = clock(), read_w()
        self._lock = threading.Lock()
        self._glitches = 0
        self.joules, self.uncertainty_j = 0.0, 0.0
        self.failure: Exception | None = None

    def sample(self) -> None:
        """Take one sample; a sensor that fails for good is remembered in `failure`."""
        with self._lock:
            if self.failure is not None:
                return
            now_s = self._clock()
            try:
                watts = self._read_w()
            except OSError as error:
                self._glitches += 1
                if error.errno not in _GLITCHES or self._glitches > _GLITCHES_IN_A_ROW:
                    self.failure = error
                return
            except ValueError as error:
                self.failure = error
                return
            self._add(now_s, watts)

    def _add(self, now_s: float, watts: float) -> None:
        seconds = now_s - self._at_s
        self.joules += (watts + self._watts) / 2 * seconds
        self.uncertainty_j += abs(watts - self._watts) / 2 * seconds
        self._at_s, self._watts, self._glitches = now_s, watts, 0


class SampledMeter:
    """Joules of a sensor that shows watts.

    Args:
        name: what is read, for reports.
        read_w: watts now; raises OSError or ValueError.
        period_s: seconds between samples, above 0.
    """

    origin: Origin = "measured"

    def __init__(self, name: str, read_w: Callable[[], float], period_s: float) -> None:
        self.name = name
        self._integral = PowerIntegral(read_w, time.monotonic)
        stop = threading.Event()
        threading.Thread(
            target=_keep_sampling, args=(self._integral, stop, period_s), name=name, daemon=True
        ).start()
        # The thread holds the integral, not the meter, so it ends with the last reference to it.
        weakref.finalize(self, stop.set)

    @property
    def uncertainty_j(self) -> float:
        """See `PowerIntegral`."""
        return self._integral.uncertainty_j

    def read_j(self) -> float:
        """Joules since the meter was opened.

        Raises:
            MissingDependencyError: the sensor cannot be read any more, or shows the impossible.
        """
        self._integral.sample()
        if self._integral.failure is not None:
            raise lost(self.name, self._integral.failure) from self._integral.failure
        return self._integral.joules


def _keep_sampling(integral: PowerIntegral, stop: threading.Event, period_s: float) -> None:
    while integral.failure is None and not stop.wait(period_s):
        integral.sample()
