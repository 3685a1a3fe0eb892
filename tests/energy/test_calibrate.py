"""Calibration on a simulated machine: its clock and its meter advance with the work."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sel_edge.core.errors import ConfigError, MissingDependencyError
from sel_edge.core.measurement import Origin
from sel_edge.energy.calibrate import (
    Calibration,
    Work,
    calibrate,
    require_measured,
    run_loads,
    works,
)
from sel_edge.energy.meter import choose_meter
from sel_edge.energy.model import EnergyModel
from sel_edge.energy.profile import load_profile, load_sources
from sel_edge.energy.profile_text import calibrated_sources, profile_text
from tests.energy.boards import BOARD
from tests.energy.trees import Tree

TRUTH = EnergyModel(2.0, 3e-10, 5e-10)
STEP_FLOPS, STEP_BYTES, STEP_S = 10**8, 10**7, 0.005


@dataclass
class Machine:
    """Draws watts by a model; every step of work takes the same time."""

    model: EnergyModel
    now: float = 0.0
    joules: float = 0.0
    origin: Origin = "measured"
    name: str = "hwmon:simulated"
    kinds: list[Work] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kinds = [
            Work(lambda: self.spend(STEP_S, STEP_FLOPS, 0), STEP_FLOPS, 0),
            Work(lambda: self.spend(STEP_S, 0, STEP_BYTES), 0, STEP_BYTES),
        ]

    def spend(self, seconds: float, flops: float = 0, moved_bytes: float = 0) -> None:
        self.now += seconds
        self.joules += self.model.joules(seconds, flops, moved_bytes)

    def read_j(self) -> float:
        return self.joules

    def clock(self) -> float:
        return self.now

    def calibrated(self, seconds: float = 30) -> Calibration:
        loads = run_loads(self, self.kinds, seconds, self.clock, self.spend)
        return calibrate(BOARD, "mine", self.name, loads)


def test_the_model_of_the_machine_is_found() -> None:
    done = Machine(TRUTH).calibrated()
    assert done.fit.model.idle_w == pytest.approx(TRUTH.idle_w)
    assert done.fit.model.j_per_flop == pytest.approx(TRUTH.j_per_flop)
    assert done.fit.model.j_per_byte == pytest.approx(TRUTH.j_per_byte)
    assert done.profile.flops_per_s == pytest.approx(STEP_FLOPS / STEP_S, rel=0.01)
    assert done.profile.bytes_per_s == pytest.approx(STEP_BYTES / STEP_S, rel=0.01)
    assert done.profile.load_w == pytest.approx(2.0 + 3e-10 * STEP_FLOPS / STEP_S, rel=0.01)


def test_the_loads_are_graded_and_keep_to_the_time() -> None:
    machine = Machine(TRUTH)
    done = machine.calibrated(seconds=42)
    assert len(done.loads) == 14
    assert machine.now == pytest.approx(42, rel=0.05)
    shares = [load.flops / load.seconds / (STEP_FLOPS / STEP_S) for load in done.loads[:7]]
    assert shares == pytest.approx([0, 1 / 3, 2 / 3, 1, 0, 0, 0], abs=0.05)


def test_the_file_says_what_was_measured_and_keeps_the_rest(tmp_path) -> None:
    done = Machine(TRUTH).calibrated()
    path = tmp_path / "mine.toml"
    sources = calibrated_sources(done, {"cores": "counted", "idle_w": "assumed"})
    path.write_text(profile_text(done.profile, sources, "Calibrated."))
    assert load_profile(path) == done.profile
    read = load_sources(path)
    assert read["cores"] == "counted"
    assert read["idle_w"].startswith("measured: by hwmon:simulated")
    assert {key for key, source in read.items() if source.startswith("measured")} == {
        *("idle_w", "load_w", "flops_per_s", "bytes_per_s"),
        *("j_per_flop", "j_per_byte", "measured_by"),
    }


@pytest.mark.parametrize(
    "model", [EnergyModel(0, 0, 0), EnergyModel(0, 1e-9, 1e-9), EnergyModel(2, 0, 0)]
)
def test_a_meter_that_shows_nothing_idle_or_nothing_of_the_load_is_refused(
    model: EnergyModel,
) -> None:
    with pytest.raises(ConfigError, match="under the heaviest load"):
        Machine(model).calibrated()


def test_an_estimate_is_no_meter_to_calibrate_with(tree: Tree) -> None:
    tree.laptop().write_text("secret")
    with pytest.raises(MissingDependencyError, match=r"energy counters cannot be used.*INA219"):
        require_measured(choose_meter(BOARD, tree.system))
    tree.sensor("ina228", energy1_input=0)
    assert require_measured(choose_meter(BOARD, tree.system)).name == "hwmon:ina228"


def test_the_real_work_does_what_it_says_and_fits_the_memory() -> None:
    product, copy = works(ram_bytes=2**20)
    for kind in (product, copy):
        kind.step()
    assert product.flops == 2 * 384**3 and product.moved_bytes == 3 * 384**2 * 4
    assert copy.flops == 0 and copy.moved_bytes == 2 * 2**20 // 32
