"""Meters on trees as the kernel lays them out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import MissingDependencyError
from sel_edge.energy.meter import open_meter
from sel_edge.energy.profile import DeviceProfile

BOARD = DeviceProfile("board", 4, 10**9, 2**30, 1.0, 3.0, 80.0)
RANGE_UJ = 1_000_000


def zone(root: Path, folder: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> Path:
    path = root / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    return path / "energy_uj"


def test_a_package_counter_is_measured_from_where_it_was_opened(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 250_000)
    meter = open_meter(BOARD, tmp_path)
    assert (meter.origin, meter.name, meter.read_j()) == ("measured", "rapl:package-0", 0.0)
    counter.write_text("750000\n")
    assert meter.read_j() == 0.5


@settings(deadline=None)  # touches the disk
@given(st.lists(st.integers(0, RANGE_UJ - 1), max_size=30), st.integers(0, RANGE_UJ - 1))
def test_wrapping_counters_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], first: int
) -> None:
    root = tmp_path_factory.mktemp("powercap")
    counter = zone(root, "intel-rapl:0", "package-0", first)
    meter = open_meter(BOARD, root)
    total = 0
    for step in steps:
        total += step
        counter.write_text(str((first + total) % RANGE_UJ))
        assert meter.read_j() == pytest.approx(total / 1e6)


def test_packages_are_summed_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    counters = [
        zone(tmp_path, "intel-rapl:0", "package-0", 0),
        zone(tmp_path, "intel-rapl:1", "package-1", 0, 10 * RANGE_UJ),
        zone(tmp_path, "intel-rapl:0:0", "core", 0),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
        zone(tmp_path, "intel-rapl:2", "psys", 0),
    ]
    (tmp_path / "dtpm").mkdir()
    meter = open_meter(BOARD, tmp_path)
    for number, counter in enumerate(counters):
        counter.write_text(str(10**number))
    assert meter.name == "rapl:package-0+package-1"
    assert meter.read_j() == pytest.approx(11e-6)


@pytest.mark.parametrize("missing", ["energy_uj", "max_energy_range_uj"])
def test_half_readable_packages_are_not_measured(tmp_path: Path, missing: str) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    zone(tmp_path, "intel-rapl:1", "package-1", 0)
    (tmp_path / "intel-rapl:1" / missing).unlink()
    assert open_meter(BOARD, tmp_path).origin == "estimated"


def test_counters_that_vanish_are_a_clear_error(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = open_meter(BOARD, tmp_path)
    counter.unlink()
    with pytest.raises(MissingDependencyError, match="no longer be read"):
        meter.read_j()


def test_without_counters_processor_time_is_turned_into_joules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([10.0, 10.0, 13.0])
    monkeypatch.setattr("time.process_time", lambda: next(seconds))
    meter = open_meter(BOARD, tmp_path)
    assert (meter.origin, meter.name) == ("estimated", "profile:board")
    assert [meter.read_j(), meter.read_j()] == [0.0, 3 * (3.0 - 1.0) / 4]


def test_an_estimate_grows_with_work_and_not_with_waiting(tmp_path: Path) -> None:
    meter = open_meter(BOARD, tmp_path)
    before = meter.read_j()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert meter.read_j() - before >= 0.05 * 0.5


def test_some_meter_opens_on_any_machine() -> None:
    meter = open_meter()
    assert 0 <= meter.read_j() <= meter.read_j()
