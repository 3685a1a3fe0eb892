"""Processor counters: packages, wrap-around, permissions, and files that lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import MissingDependencyError
from sel_edge.core.measurement import Meter
from sel_edge.energy.rapl import open_rapl
from sel_edge.energy.system import RefusedError
from tests.energy.trees import HOSTILE, RANGE_UJ, Tree


def opened(tree: Tree) -> Meter:
    meter = open_rapl(tree.system)
    assert meter is not None
    return meter


def test_a_package_counter_is_measured_from_where_it_was_opened(tree: Tree) -> None:
    counter = tree.laptop()
    meter = opened(tree)
    assert (meter.origin, meter.name, meter.read_j()) == ("measured", "rapl:package-0", 0.0)
    counter.write_text("750000\n")
    assert meter.read_j() == 0.5


@given(st.lists(st.integers(0, RANGE_UJ - 1), max_size=30), st.integers(0, RANGE_UJ - 1))
def test_wrapping_counters_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], first: int
) -> None:
    tree = Tree(tmp_path_factory.mktemp("powercap"))
    counter = tree.zone("intel-rapl:0", "package-0", first)
    meter, total = opened(tree), 0
    for step in steps:
        total += step
        counter.write_text(str((first + total) % RANGE_UJ))
        assert meter.read_j() == pytest.approx(total / 1e6)


def test_packages_are_summed_and_their_parts_are_not_counted_twice(tree: Tree) -> None:
    counters = [
        tree.zone("intel-rapl:0", "package-0", 0),
        tree.zone("intel-rapl:1", "package-1", 0, 10 * RANGE_UJ),
        tree.zone("intel-rapl:0:0", "core", 0),
        tree.zone("intel-rapl-mmio:0", "package-0", 0),
        tree.zone("intel-rapl:2", "psys", 0),
    ]
    (tree.root / "sys" / "class" / "powercap" / "dtpm").mkdir()
    meter = opened(tree)
    for number, counter in enumerate(counters):
        counter.write_text(str(10**number))
    assert meter.name == "rapl:package-0+package-1"
    assert meter.read_j() == pytest.approx(11e-6)


def test_no_counters_and_no_packages_are_no_meter(tree: Tree) -> None:
    assert open_rapl(tree.system) is None
    tree.zone("intel-rapl:0", "psys", 0)
    assert open_rapl(tree.system) is None


@pytest.mark.parametrize("missing", ["energy_uj", "max_energy_range_uj", "name"])
def test_half_readable_packages_are_refused(tree: Tree, missing: str) -> None:
    tree.zone("intel-rapl:0", "package-0", 0)
    tree.zone("intel-rapl:1", "package-1", 0)
    (tree.root / "sys/class/powercap/intel-rapl:1" / missing).unlink()
    with pytest.raises(RefusedError, match=missing):
        open_rapl(tree.system)


def test_a_missing_permission_says_how_to_get_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter, real = tree.laptop(), Path.open

    def guarded(path: Path, *arguments: object, **options: object) -> object:
        if path == counter:  # chmod does not keep root out, who may run the tests
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    with pytest.raises(RefusedError, match=r"root only.*sudo chmod") as caught:
        open_rapl(tree.system)
    assert str(counter) in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        *(("energy_uj", text) for text in [*HOSTILE, str(RANGE_UJ + 1)]),
        *(("max_energy_range_uj", text) for text in [*HOSTILE, "0"]),
    ],
)
def test_counters_that_hold_no_count_are_refused(tree: Tree, text: str, file: str) -> None:
    tree.laptop().with_name(file).write_text(text)
    with pytest.raises(RefusedError):
        open_rapl(tree.system)


@pytest.mark.parametrize("text", [*HOSTILE, str(RANGE_UJ + 1)])
def test_counters_that_lie_later_end_in_an_error(tree: Tree, text: str) -> None:
    counter = tree.laptop()
    meter = opened(tree)
    counter.write_text(text)
    with pytest.raises(MissingDependencyError, match="no longer be read"):
        meter.read_j()


def test_counters_that_vanish_are_a_clear_error(tree: Tree) -> None:
    counter = tree.laptop()
    meter = opened(tree)
    counter.unlink()
    with pytest.raises(MissingDependencyError, match="no longer be read"):
        meter.read_j()
