"""Refill curves: the watts that arrive over time, and exactly how many joules they add up to.

Times are seconds since the Unix epoch; hours are those of the clock that `utc_offset_h` names.
"""

from __future__ import annotations

import csv
import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, time
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from sel_edge.core.errors import ConfigError

DAY_S = 86_400.0
HOUR_S = 3_600.0
NANOJOULES = 10**9
"""In a joule."""
READY_WITHIN_S = 1e-2
_MOST_WATTS = 1e9


class RefillCurve(ABC):
    """Watts that repeat with a period. Energy is counted in whole nanojoules.

    Whole numbers make the energy of adjoining spans add up to that of both, without rounding.
    """

    @property
    def period_s(self) -> float:
        """After how many seconds the curve repeats."""
        return DAY_S

    @property
    def shift_s(self) -> float:
        """Seconds that the curve's clock is ahead of UTC."""
        return 0.0

    @abstractmethod
    def watts_at(self, phase_s: float) -> float:
        """Watts at 0 <= phase_s < period_s."""

    @abstractmethod
    def joules_to(self, phase_s: float) -> float:
        """Integral of the watts from the start of a period to 0 <= phase_s <= period_s."""

    def watts(self, time_s: float) -> float:
        """Watts at an instant."""
        return self.watts_at((time_s + self.shift_s) % self.period_s)

    def cumulative_nj(self, time_s: float) -> int:
        """Nanojoules between the epoch's first period and an instant; negative before it."""
        periods, phase_s = divmod(time_s + self.shift_s, self.period_s)
        within = math.floor(self.joules_to(phase_s) * NANOJOULES)
        return int(periods) * self._period_nj + min(within, self._period_nj)

    def energy_j(self, start_s: float, end_s: float) -> float:
        """Joules that arrive from `start_s` to `end_s`, in closed form; 0 if it is not later."""
        if end_s <= start_s:
            return 0.0
        return max(0, self.cumulative_nj(end_s) - self.cumulative_nj(start_s)) / NANOJOULES

    def ready_s(self, start_s: float, needed_nj: int) -> float | None:
        """When `needed_nj` have arrived since `start_s`; None if they never do.

        At most `READY_WITHIN_S` later than the first such instant, or one float where those are
        coarser, and never earlier.
        """
        goal = self.cumulative_nj(start_s) + needed_nj
        if needed_nj <= 0:
            return start_s
        if self._period_nj == 0:
            return None
        whole_s = needed_nj // self._period_nj * self.period_s
        early = start_s + max(0.0, whole_s - self.period_s)
        late = start_s + whole_s + 2 * self.period_s
        while late - early > READY_WITHIN_S:
            middle = (early + late) / 2
            if not early < middle < late:  # millions of years ahead
                break
            if self.cumulative_nj(middle) >= goal:
                late = middle
            else:
                early = middle
        return late

    @cached_property
    def _period_nj(self) -> int:
        return math.floor(self.joules_to(self.period_s) * NANOJOULES)


@dataclass(frozen=True)
class ConstantWatts(RefillCurve):
    """The same watts at all times; `power_w` >= 0."""

    power_w: float

    def __post_init__(self) -> None:
        _require_watts("power_w", self.power_w)

    def watts_at(self, phase_s: float) -> float:
        """The constant."""
        return self.power_w

    def joules_to(self, phase_s: float) -> float:
        """Watts times seconds."""
        return self.power_w * phase_s


@dataclass(frozen=True)
class DutyCycle(RefillCurve):
    """`power_w` >= 0 for the first 0 <= `on_s` <= `every_s` seconds of every `every_s`, else 0."""

    power_w: float
    on_s: float
    every_s: float

    def __post_init__(self) -> None:
        _require_watts("power_w", self.power_w)
        _require("every_s", self.every_s, "from 1 to 1e9 seconds", 1 <= self.every_s <= 1e9)
        _require("on_s", self.on_s, "from 0 to every_s", 0 <= self.on_s <= self.every_s)

    @property
    def period_s(self) -> float:
        """Seconds from one start to the next."""
        return self.every_s

    def watts_at(self, phase_s: float) -> float:
        """On at first, then off."""
        return self.power_w if phase_s < self.on_s else 0.0

    def joules_to(self, phase_s: float) -> float:
        """Watts times the seconds it was on."""
        return self.power_w * min(phase_s, self.on_s)


@dataclass(frozen=True)
class ClearSkyDay(RefillCurve):
    """A cloudless day: half a sine from sunrise to sunset with its peak halfway between.

    Attributes:
        peak_w: at least 0.
        sunrise_h, sunset_h: 0 <= sunrise < sunset <= 24.
        utc_offset_h: from -24 to 24.
    """

    peak_w: float
    sunrise_h: float = 6.0
    sunset_h: float = 18.0
    utc_offset_h: float = 0.0

    def __post_init__(self) -> None:
        _require_watts("peak_w", self.peak_w)
        _require("sunrise_h", self.sunrise_h, "from 0 to 24", 0 <= self.sunrise_h <= 24)
        is_later = self.sunrise_h < self.sunset_h <= 24
        _require("sunset_h", self.sunset_h, "after sunrise_h and at most 24", is_later)
        _require_offset(self.utc_offset_h)

    @property
    def shift_s(self) -> float:
        """Seconds that local time is ahead of UTC."""
        return self.utc_offset_h * HOUR_S

    def watts_at(self, phase_s: float) -> float:
        """A sine by day, 0 by night."""
        share = self._share_of_daylight(phase_s)
        return self.peak_w * math.sin(math.pi * share) if 0 < share < 1 else 0.0

    def joules_to(self, phase_s: float) -> float:
        """The integral of a sine, 1 - cos, written as a square that cannot fall below 0."""
        daylight_s = (self.sunset_h - self.sunrise_h) * HOUR_S
        share = self._share_of_daylight(phase_s)
        return self.peak_w * daylight_s * 2 / math.pi * math.sin(math.pi / 2 * share) ** 2

    def _share_of_daylight(self, phase_s: float) -> float:
        since_sunrise_h = phase_s / HOUR_S - self.sunrise_h
        return min(max(since_sunrise_h / (self.sunset_h - self.sunrise_h), 0.0), 1.0)


@dataclass(frozen=True)
class DailyCurve(RefillCurve):
    """Watts at given hours, a straight line between them, across midnight too.

    Attributes:
        hours: rising strictly, within 0..24; at least one. With 0 and 24 both given, midnight
            may be a jump.
        power_w: at least 0, one per hour.
        utc_offset_h: from -24 to 24.
    """

    hours: tuple[float, ...]
    power_w: tuple[float, ...]
    utc_offset_h: float = 0.0

    def __post_init__(self) -> None:
        is_paired = 0 < len(self.hours) == len(self.power_w)
        _require("points", len(self.hours), "as many hours as watts, at least one", is_paired)
        for hour in self.hours:
            _require("hours", hour, "from 0 to 24", 0 <= hour <= 24)
        for earlier, later in pairwise(self.hours):
            _require("hours", later, "in rising order", later > earlier)
        for watts in self.power_w:
            _require_watts("power_w", watts)
        _require_offset(self.utc_offset_h)

    @property
    def shift_s(self) -> float:
        """Seconds that the curve's clock is ahead of UTC."""
        return self.utc_offset_h * HOUR_S

    def watts_at(self, phase_s: float) -> float:
        """On the line between the two nearest hours."""
        piece, since_s, slope = self._piece(phase_s)
        return max(0.0, self._knots[1][piece] + slope * since_s)

    def joules_to(self, phase_s: float) -> float:
        """Whole trapezoids, then part of one."""
        piece, since_s, slope = self._piece(phase_s)
        level = self._knots[1][piece] + slope * since_s / 2
        return self._knots[2][piece] + max(0.0, level) * since_s

    def _piece(self, phase_s: float) -> tuple[int, float, float]:
        """Which line an instant lies on, seconds since its start, watts per second."""
        times, watts, _ = self._knots
        piece = min(bisect_right(times, phase_s), len(times) - 1) - 1
        slope = (watts[piece + 1] - watts[piece]) / (times[piece + 1] - times[piece])
        return piece, phase_s - times[piece], slope

    @cached_property
    def _knots(self) -> tuple[list[float], list[float], list[float]]:
        """Seconds, watts and joules so far at every corner from midnight to midnight."""
        times = [hour * HOUR_S for hour in self.hours]
        watts = list(self.power_w)
        gap_s = times[0] + DAY_S - times[-1]
        midnight = watts[0]
        if gap_s > 0:
            midnight = (watts[-1] * times[0] + watts[0] * (DAY_S - times[-1])) / gap_s
        if times[0] > 0:
            times, watts = [0.0, *times], [midnight, *watts]
        if times[-1] < DAY_S:
            times, watts = [*times, DAY_S], [*watts, midnight]
        joules = [0.0]
        for left in range(len(times) - 1):
            mean = (watts[left] + watts[left + 1]) / 2
            joules.append(joules[-1] + mean * (times[left + 1] - times[left]))
        return times, watts, joules


def load_daily_curve(path: Path, utc_offset_h: float = 0.0) -> DailyCurve:
    """Read a curve of one day from a CSV file.

    Every row is `time,watts`, where the time is an hour from 0 to 24 ("6.5"), a time of day
    ("06:30") or a date and time of one day ("2026-06-21T06:30"); a first row that names the
    columns (its second is `watts`) and lines that start with # are skipped.

    Raises:
        ConfigError: the file cannot be read, a row is something else, or the times do not rise.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The refill curve {path} cannot be read: {error}.",
            "A CSV file of times and watts is expected.",
            "Correct the path or the file.",
        ) from error
    rows = [row for row in csv.reader(lines) if row and not row[0].lstrip().startswith("#")]
    if rows and rows[0][-1].strip().lower() == "watts":
        rows = rows[1:]
    points = [_point(path, row) for row in rows]
    if len({date for date, _, _ in points}) > 1:
        raise ConfigError(
            f"The refill curve {path} has times of more than one date.",
            "A curve of one day is expected, which then repeats.",
            "Keep one day, or write the times without dates.",
        )
    try:
        hours, watts = tuple(hour for _, hour, _ in points), tuple(watts for *_, watts in points)
        return DailyCurve(hours, watts, utc_offset_h)
    except ConfigError as error:
        raise ConfigError(f"In {path}: {error.found}", error.expected, error.action) from error


def _point(path: Path, row: list[str]) -> tuple[str, float, float]:
    """Date ("" if none is given), hour and watts of one row."""
    try:
        moment, watts = (cell.strip() for cell in row)
        return (*_hour(moment), float(watts))
    except ValueError as error:
        raise ConfigError(
            f"The refill curve {path} has the row '{','.join(row)}'.",
            "A row is an hour or an ISO time, without an offset of its own, a comma, and watts.",
            "Correct the row.",
        ) from error


def _hour(moment: str) -> tuple[str, float]:
    if not any(mark in moment for mark in ":T"):
        return "", float(moment)
    try:
        date, clock = "", time.fromisoformat(moment)
    except ValueError:
        full = datetime.fromisoformat(moment)
        date, clock = full.date().isoformat(), full.timetz()
    if clock.tzinfo is not None:
        raise ValueError("an offset of its own")
    seconds = clock.second + clock.microsecond / 1e6
    return date, clock.hour + clock.minute / 60 + seconds / HOUR_S


def _require_offset(utc_offset_h: float) -> None:
    _require("utc_offset_h", utc_offset_h, "from -24 to 24", abs(utc_offset_h) <= 24)


def _require_watts(name: str, watts: float) -> None:
    _require(name, watts, f"from 0 to {_MOST_WATTS:g} watts", 0 <= watts <= _MOST_WATTS)


def _require(name: str, value: float, rule: str, holds: bool) -> None:
    """Raise a ConfigError unless the rule holds; NaN holds no comparison."""
    if not holds:
        raise ConfigError(
            f"A refill curve has {name} = {value!r}.",
            f"{name} must be {rule}.",
            "Correct the value.",
        )
