"""Which meter is chosen, what it counts, and what is said where none can be used."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sel_edge.core.errors import MissingDependencyError
from sel_edge.energy.meter import choose_meter, open_meter
from tests.energy.boards import BOARD
from tests.energy.trees import PI5_IDLE, Tree


def test_a_machine_that_says_nothing_is_estimated_and_nothing_was_refused(tree: Tree) -> None:
    choice = choose_meter(BOARD, tree.system)
    assert (choice.meter.origin, choice.meter.name) == ("estimated", "profile:board")
    assert choice.refused == ()


def test_without_a_profile_the_board_is_detected(tree: Tree) -> None:
    tree.board("Raspberry Pi 4 Model B Rev 1.4")
    assert open_meter(system=tree.system).name == "profile:pi-4b"


def test_a_sensor_in_the_supply_comes_before_rails_and_rails_before_the_processor(
    tree: Tree,
) -> None:
    tree.laptop()
    assert open_meter(BOARD, tree.system).name == "rapl:package-0"
    tree.board("Raspberry Pi 5 Model B Rev 1.0")
    tree.firmware_says(PI5_IDLE)
    assert open_meter(BOARD, tree.system).name == "pmic:rails"
    tree.sensor("ina219", power1_input=2_000_000)
    assert open_meter(BOARD, tree.system).name == "hwmon:ina219"


def test_the_next_source_is_taken_and_the_refusal_is_told(tree: Tree) -> None:
    tree.laptop()
    tree.sensor("ina219", power1_input="soon")
    choice = choose_meter(BOARD, tree.system)
    assert (choice.meter.origin, choice.meter.name) == ("measured", "rapl:package-0")
    assert len(choice.refused) == 1 and "hwmon0" in choice.refused[0]


def test_every_refusal_is_told_before_estimating(tree: Tree) -> None:
    tree.laptop().write_text("-5")
    tree.sensor("ina260", power1_input="")
    tree.board("Raspberry Pi 5 Model B")
    choice = choose_meter(BOARD, tree.system)
    assert choice.meter.origin == "estimated"
    assert [
        any(word in reason for reason in choice.refused)
        for word in ("power sensor", "vcgencmd", "energy counters")
    ] == [True] * 3


def test_without_counters_processor_time_is_turned_into_joules(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([10.0, 10.0, 13.0])
    monkeypatch.setattr("time.process_time", lambda: next(seconds))
    meter = open_meter(BOARD, tree.system)
    assert [meter.read_j(), meter.read_j()] == [0.0, 3 * (3.0 - 1.0) / 4]


def test_an_estimate_grows_with_work_and_not_with_waiting(tree: Tree) -> None:
    meter = open_meter(BOARD, tree.system)
    before = meter.read_j()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert meter.read_j() - before >= 0.05 * 0.5


def test_some_meter_opens_on_any_machine() -> None:
    meter = open_meter()
    assert 0 <= meter.read_j() <= meter.read_j()


@pytest.mark.parametrize("files", ["class/hwmon/hwmon0/power1_input", "class/powercap"])
def test_a_source_that_goes_ends_in_an_error_and_not_in_an_estimate(tree: Tree, files: str) -> None:
    if "hwmon" in files:
        tree.sensor("ina226", power1_input=1, update_interval=36)
    else:
        tree.laptop()
    meter = open_meter(BOARD, tree.system)
    assert meter.origin == "measured"
    Path(tree.root / "sys" / "class").rename(tree.root / "gone")
    for _ in range(2):
        with pytest.raises(MissingDependencyError, match="no longer be read"):
            meter.read_j()
