"""Calibration: graded loads of known operations and bytes, a meter, and the profile they make."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sel_edge.core.errors import ConfigError, MissingDependencyError
from sel_edge.core.measurement import Meter
from sel_edge.energy.meter import Choice
from sel_edge.energy.model import Fit, Load, fit
from sel_edge.energy.profile import DeviceProfile

_SHARES = (1 / 3, 2 / 3, 1.0)
_ROUNDS = 2
_DUTY_S = 0.1  # within this time a load works for its share and sleeps for the rest
_SIDE = 384
_COPIED_BYTES = 32 * 2**20
_RAM_SHARE = 32
_LEAST_IDLE, _MOST_IDLE = 0.001, 0.99  # of the heaviest load's watts


@dataclass(frozen=True)
class Work:
    """Something that can be done again and again.

    Attributes:
        step: does it once.
        flops: operations of one step.
        moved_bytes: bytes read and written by one step.
    """

    step: Callable[[], object]
    flops: int
    moved_bytes: int


@dataclass(frozen=True)
class Calibration:
    """A profile whose energy figures were measured.

    Attributes:
        profile: with the fitted model and the measured rates.
        fit: the model, its uncertainty, and what it leaves unexplained.
        loads: what it was fitted to.
    """

    profile: DeviceProfile
    fit: Fit
    loads: tuple[Load, ...]


def require_measured(choice: Choice) -> Meter:
    """The meter, if it measures.

    Raises:
        MissingDependencyError: it estimates; fitting a profile to itself would prove nothing.
    """
    if choice.meter.origin == "measured":
        return choice.meter
    refused = f" ({'; '.join(choice.refused)})" if choice.refused else ""
    raise MissingDependencyError(
        f"This machine has no energy meter that could be used{refused}.",
        "Calibration needs measured joules: an INA219, INA226 or INA260 in the supply line, a "
        "Raspberry Pi 5's power management chip, or a processor's RAPL counters.",
        "Wire in a sensor and load its kernel driver, or allow the counters to be read, then try "
        "again.",
    )


def works(ram_bytes: int) -> tuple[Work, Work]:
    """Matrix products, and copies of arrays too large for any cache but small beside the memory.

    Products use the threads that numpy's BLAS uses, copies one.
    """
    rng = np.random.default_rng(0)
    left = rng.standard_normal((_SIDE, _SIDE), dtype=np.float32)
    right = rng.standard_normal((_SIDE, _SIDE), dtype=np.float32)
    product = np.empty_like(left)
    source = np.ones(min(_COPIED_BYTES, ram_bytes // _RAM_SHARE), dtype=np.uint8)
    target = np.empty_like(source)
    return (
        Work(lambda: np.matmul(left, right, out=product), 2 * _SIDE**3, 3 * left.nbytes),
        Work(lambda: np.copyto(target, source), 0, 2 * source.nbytes),
    )


def run_loads(
    meter: Meter,
    kinds: Sequence[Work],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Load, ...]:
    """Idle, then every kind of work at a third, two thirds and all of the time, twice over.

    Args:
        meter: read at the beginning and the end of every load.
        kinds: the work.
        seconds: for everything together, above 0; a step under way is finished.
        clock: seconds that never fall.
        sleep: waits for some seconds.
    """
    grades = [(None, 0.0), *((kind, share) for kind in kinds for share in _SHARES)]
    each_s = seconds / (_ROUNDS * len(grades))
    return tuple(
        _load(meter, kind, share, each_s, clock, sleep)
        for _ in range(_ROUNDS)
        for kind, share in grades
    )


def calibrate(
    profile: DeviceProfile, name: str, meter_name: str, loads: Sequence[Load]
) -> Calibration:
    """The profile with the model and the rates that the loads show.

    Args:
        profile: what is not measured comes from it.
        name: of the new profile.
        meter_name: of the meter, for the record.
        loads: at least one of which computed, one moved bytes, and one idled.

    Raises:
        ConfigError: the loads do not determine a model, or the meter does not tell them apart.
    """
    found = fit(loads)
    load_w = max(load.joules / load.seconds for load in loads)
    if not _LEAST_IDLE * load_w < found.model.idle_w < _MOST_IDLE * load_w:
        raise ConfigError(
            f"The meter {meter_name} shows {found.model.idle_w:.3g} W idle and {load_w:.3g} W "
            "under the heaviest load.",
            "A machine draws something while idle, and clearly more under load.",
            "Check what the meter measures, and calibrate for longer on a quiet machine.",
        )
    measured = replace(
        profile,
        name=name,
        idle_w=found.model.idle_w,
        load_w=load_w,
        flops_per_s=max(load.flops / load.seconds for load in loads),
        bytes_per_s=max(load.moved_bytes / load.seconds for load in loads),
        j_per_flop=found.model.j_per_flop,
        j_per_byte=found.model.j_per_byte,
        measured_by=meter_name,
    )
    return Calibration(measured, found, tuple(loads))


def _load(
    meter: Meter,
    kind: Work | None,
    share: float,
    seconds: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Load:
    steps = 0
    before_j, start = meter.read_j(), clock()
    while (now := clock()) < start + seconds:
        duty_end = min(now + _DUTY_S, start + seconds)
        work_end = now + share * (duty_end - now)
        while kind is not None and clock() < work_end:
            kind.step()
            steps += 1
        sleep(max(duty_end - clock(), 0.0))
    joules, took = meter.read_j() - before_j, clock() - start
    if kind is None:
        return Load(took, 0, 0, joules)
    return Load(took, steps * kind.flops, steps * kind.moved_bytes, joules)
