"""Sensors in the supply line, on trees as the ina2xx, ina238 and ina260 drivers make them."""

from __future__ import annotations

import threading

import pytest

from sel_edge.core.errors import MissingDependencyError
from sel_edge.energy.hwmon import _period_s, open_hwmon
from sel_edge.energy.sampled import SampledMeter
from sel_edge.energy.system import RefusedError
from tests.energy.trees import HOSTILE, Tree

INA219 = {"in0_input": 12, "in1_input": 5064, "curr1_input": 420, "shunt_resistor": 100000}


@pytest.mark.parametrize("chip", ["ina219", "ina226", "ina260"])
def test_watts_of_a_sensor_are_sampled(tree: Tree, chip: str) -> None:
    tree.sensor(chip, power1_input=2_128_000, **INA219)
    meter = open_hwmon(tree.system)
    assert isinstance(meter, SampledMeter)
    assert (meter.origin, meter.name) == ("measured", f"hwmon:{chip}")
    assert 0 < meter.read_j() <= meter.read_j()


def test_a_chip_that_counts_joules_is_not_sampled(tree: Tree) -> None:
    sensor = tree.sensor("ina228", power1_input=1, energy1_input=5_000_000)
    before = {thread.name for thread in threading.enumerate()}
    meter = open_hwmon(tree.system)
    assert meter is not None and meter.read_j() == 0.0
    (sensor / "energy1_input").write_text("7500000\n")
    assert meter.read_j() == 2.5
    assert {thread.name for thread in threading.enumerate()} == before


def test_a_counter_without_a_known_range_must_not_fall(tree: Tree) -> None:
    sensor = tree.sensor("ina228", energy1_input=5_000_000)
    meter = open_hwmon(tree.system)
    assert meter is not None
    (sensor / "energy1_input").write_text("4\n")
    with pytest.raises(MissingDependencyError, match="fell from 5000000 to 4"):
        meter.read_j()


def test_other_chips_and_chips_without_power_are_none(tree: Tree) -> None:
    tree.sensor("amdgpu", 0, power1_input=5_000_000)
    tree.sensor("cpu_thermal", 1, temp1_input=48_000)
    tree.sensor("ina219", 2, in1_input=5_000)
    (tree.root / "sys/class/hwmon/hwmon3").mkdir()
    assert open_hwmon(tree.system) is None


def test_of_several_sensors_the_labelled_one_counts(tree: Tree) -> None:
    tree.sensor("ina219", 0, power1_input=1_000_000)
    tree.sensor("ina226", 1, power1_input=2_000_000, label="supply")
    meter = open_hwmon(tree.system)
    assert meter is not None and meter.name == "hwmon:ina226"


@pytest.mark.parametrize("label", ["motor", "supply"])
def test_several_sensors_without_one_supply_are_refused(tree: Tree, label: str) -> None:
    tree.sensor("ina219", 0, power1_input=1_000_000, label=label)
    tree.sensor("ina219", 1, power1_input=2_000_000, label=label)
    with pytest.raises(RefusedError, match="hwmon0, hwmon1"):
        open_hwmon(tree.system)


@pytest.mark.parametrize(
    ("channel", "text"),
    [
        *(("power1_input", text) for text in [*HOSTILE, "1000000001"]),
        *(("energy1_input", text) for text in HOSTILE),
    ],
)
def test_channels_that_hold_no_number_are_refused(tree: Tree, text: str, channel: str) -> None:
    tree.sensor("ina226", **{channel: text})
    with pytest.raises(RefusedError, match="hwmon0"):
        open_hwmon(tree.system)


@pytest.mark.parametrize("text", HOSTILE)
def test_channels_that_lie_later_end_in_an_error(tree: Tree, text: str) -> None:
    sensor = tree.sensor("ina219", power1_input=1_000_000)
    meter = open_hwmon(tree.system)
    assert meter is not None
    (sensor / "power1_input").write_text(text)
    with pytest.raises(MissingDependencyError, match="no longer be read"):
        meter.read_j()


@pytest.mark.parametrize(
    ("interval", "period_s"), [("36", 0.036), ("0", 0.02), ("30000", 1.0), ("never", 0.02)]
)
def test_the_chip_is_sampled_as_often_as_it_updates(
    tree: Tree, interval: str, period_s: float
) -> None:
    assert _period_s(tree.sensor("ina226", update_interval=interval)) == period_s


def test_a_chip_that_does_not_say_is_sampled_fifty_times_a_second(tree: Tree) -> None:
    assert _period_s(tree.sensor("ina219")) == 0.02
