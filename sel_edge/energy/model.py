"""The linear energy model: joules from seconds, operations and bytes; and its fit to a meter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import ConfigError
from sel_edge.energy.profile import DeviceProfile


@dataclass(frozen=True)
class EnergyModel:
    """joules = idle_w * seconds + j_per_flop * flops + j_per_byte * bytes; none is negative."""

    idle_w: float
    j_per_flop: float
    j_per_byte: float

    def joules(self, seconds: float, flops: float, moved_bytes: float) -> float:
        """Joules of the whole board over `seconds` in which it does this work."""
        return self.idle_w * seconds + self.j_per_flop * flops + self.j_per_byte * moved_bytes


@dataclass(frozen=True)
class Load:
    """What was done over some time, and what a meter says it took.

    Attributes:
        seconds: wall time, above 0.
        flops: operations carried out in it; a multiply-add is two.
        moved_bytes: bytes read and written in it.
        joules: by the meter.
    """

    seconds: float
    flops: float
    moved_bytes: float
    joules: float


@dataclass(frozen=True)
class Fit:
    """A model fitted to loads.

    Attributes:
        model: the coefficients.
        error: their standard errors, in the same fields.
        residual_w: root mean square of the watts that the model leaves unexplained.
    """

    model: EnergyModel
    error: EnergyModel
    residual_w: float


@dataclass(frozen=True)
class Estimate:
    """What some work is expected to take on a device.

    Attributes:
        seconds: wall time with all cores at work and nothing overlapping.
        joules: of the whole board over that time, idling included.
        joules_above_idle: what the work adds to idling.
    """

    seconds: float
    joules: float
    joules_above_idle: float


def estimate(profile: DeviceProfile, flops: float, moved_bytes: float) -> Estimate:
    """Seconds and joules of some work: both grow with the operations and with the bytes.

    Computing and moving are taken to happen one after the other, which at worst doubles the time;
    and where a profile's j_per_flop and j_per_byte are derived from its watts, the watts of any
    work are then load_w.

    Args:
        profile: the device.
        flops: float32 operations, 0 or more; a multiply-add is two.
        moved_bytes: bytes read and written, 0 or more.
    """
    seconds = flops / profile.flops_per_s + moved_bytes / profile.bytes_per_s
    above = profile.j_per_flop * flops + profile.j_per_byte * moved_bytes
    return Estimate(seconds, profile.idle_w * seconds + above, above)


def fit(loads: Sequence[Load]) -> Fit:
    """Non-negative least squares of the loads' mean watts.

    Every load counts the same, however long it ran. Standard errors are those of the unconstrained
    fit (Draper and Smith, Applied Regression Analysis), also where a coefficient ended at 0.

    Raises:
        ConfigError: the loads do not determine the model: fewer than four, or all alike.
    """
    seconds = np.array([load.seconds for load in loads])
    work = np.array([(load.flops, load.moved_bytes) for load in loads]).reshape(-1, 2)
    rates = np.column_stack([np.ones(len(loads)), work / seconds[:, None]])
    watts = np.array([load.joules for load in loads]) / seconds
    scale = np.abs(rates).max(axis=0, initial=0.0)
    if len(loads) < 4 or not scale.all() or np.linalg.matrix_rank(rates / scale) < 3:
        raise ConfigError(
            f"The energy model cannot be fitted to {len(loads)} loads.",
            "At least four that differ in operations and in bytes per second are needed.",
            "Measure more loads.",
        )
    scaled = rates / scale
    values = _non_negative(scaled, watts)
    free, *_ = np.linalg.lstsq(scaled, watts, rcond=None)
    variance = float(np.sum((watts - scaled @ free) ** 2)) / (len(loads) - 3)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(scaled.T @ scaled))) / scale
    residual = float(np.sqrt(np.mean((watts - scaled @ values) ** 2)))
    return Fit(EnergyModel(*map(float, values / scale)), EnergyModel(*map(float, errors)), residual)


def _non_negative(rates: NDArray[np.float64], watts: NDArray[np.float64]) -> NDArray[np.float64]:
    """min |rates @ x - watts| over x >= 0, by trying which of the few x are above 0.

    On its support, the best x is the unconstrained one; so the best of those that are feasible is
    the answer, and no iteration is needed.
    """
    columns = rates.shape[1]
    best, best_error = np.zeros(columns), float(np.sum(watts**2))
    for size in range(1, columns + 1):
        for support in combinations(range(columns), size):
            part, *_ = np.linalg.lstsq(rates[:, support], watts, rcond=None)
            error = float(np.sum((rates[:, support] @ part - watts) ** 2))
            if (part >= 0).all() and error < best_error:
                best, best_error = np.zeros(columns), error
                best[list(support)] = part
    return best
