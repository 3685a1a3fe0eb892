"""Degrees, clocks and throttling on recorded trees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.energy.thermal import (
    Throttling,
    read_celsius,
    read_clock_hz,
    read_throttling,
    throttled,
)
from tests.energy.trees import HOSTILE, Tree

FIRMWARE = "devices/platform/soc/soc:firmware/get_throttled"


def test_a_machine_that_says_nothing_is_unknown_and_not_throttled(tree: Tree) -> None:
    system = tree.system
    assert (read_celsius(system), read_clock_hz(system), read_throttling(system)) == (None,) * 3
    assert not throttled(system)


def test_the_hottest_zone_of_the_processor_counts(tree: Tree) -> None:
    tree.thermal_zone(0, "acpitz", 95_000)
    assert read_celsius(tree.system) == 95.0
    tree.thermal_zone(1, "cpu-thermal", 48_312)
    tree.thermal_zone(2, "x86_pkg_temp", 51_000)
    tree.thermal_zone(3, "iwlwifi_1", 60_000)
    assert read_celsius(tree.system) == 51.0


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "-1"] + ["-274000", "200000"])
def test_zones_that_show_nothing_possible_are_left_out(tree: Tree, text: str) -> None:
    zone = tree.thermal_zone(0, "cpu-thermal", text)
    assert read_celsius(tree.system) is None
    tree.thermal_zone(1, "soc-thermal", -1_500)
    assert read_celsius(tree.system) == -1.5
    zone.unlink()
    (zone.parent / "type").unlink()
    assert read_celsius(tree.system) == -1.5


def test_frost_is_a_temperature(tree: Tree) -> None:
    tree.thermal_zone(0, "cpu-thermal", -1)
    assert read_celsius(tree.system) == -0.001


@given(st.sets(st.sampled_from(list(Throttling))))
def test_flags_have_words_and_now_is_now(flags: set[Throttling]) -> None:
    together = Throttling(0)
    for flag in flags:
        together |= flag
    words = together.words()
    assert len(words) == len(set(words)) == len(flags)
    past = [word for word in words if word.endswith("since it started")]
    assert len(past) == sum(flag.value >= 1 << 16 for flag in flags)
    assert len(together.now.words()) == len(words) - len(past)


def test_the_firmware_is_asked_through_the_kernel(tree: Tree) -> None:
    tree.write(FIRMWARE, "50005")
    flags = read_throttling(tree.system)
    assert flags is not None
    assert flags.words() == [
        "under voltage",
        "throttled",
        "under voltage since it started",
        "throttled since it started",
    ]
    assert throttled(tree.system)


def test_or_through_its_own_command(tree: Tree) -> None:
    tree.board("Raspberry Pi Zero 2 W Rev 1.0")
    tree.firmware_says("throttled=0x20000\n")
    assert read_throttling(tree.system) == Throttling.FREQUENCY_CAPPED_OCCURRED
    assert not throttled(tree.system)


def test_bits_without_a_meaning_are_dropped(tree: Tree) -> None:
    tree.write(FIRMWARE, "fff0fff0")
    assert read_throttling(tree.system) == Throttling(0)


@pytest.mark.parametrize("text", ["", "-1", "many", "0x", "123456789", "1 2"])
def test_a_firmware_that_talks_nonsense_is_unknown(tree: Tree, text: str) -> None:
    tree.write(FIRMWARE, text)
    assert read_throttling(tree.system) is None


def test_a_command_that_fails_is_unknown(tree: Tree) -> None:
    tree.board("Raspberry Pi 4 Model B Rev 1.4")
    tree.firmware("exit 1")
    assert read_throttling(tree.system) is None


def test_a_governor_that_holds_the_clock_down_is_a_cap_and_a_fan_is_not(tree: Tree) -> None:
    tree.write("class/thermal/cooling_device0/type", "pwm-fan")
    tree.write("class/thermal/cooling_device0/cur_state", 4)
    assert read_throttling(tree.system) is None
    tree.write("class/thermal/cooling_device1/type", "cpufreq-cpu0")
    state = tree.write("class/thermal/cooling_device1/cur_state", 0)
    assert read_throttling(tree.system) == Throttling(0)
    state.write_text("2\n")
    assert read_throttling(tree.system) == Throttling.FREQUENCY_CAPPED
    assert throttled(tree.system)
    state.write_text("many")
    assert read_throttling(tree.system) is None


def test_the_fastest_core_gives_the_clock(tree: Tree) -> None:
    for core, khz in enumerate(["600000", "1500000", "nan"]):
        tree.write(f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", khz)
    tree.write("devices/system/cpu/cpufreq/boost", 1)
    assert read_clock_hz(tree.system) == 1_500_000_000
