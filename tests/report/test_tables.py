"""The two tables: right numbers, honest savings, and the published page reproduced."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import DataError
from sel_edge.report import tables
from sel_edge.report.system import System, read_reference
from sel_edge.report.wording import NBSP

# name, baseline, SEL, difference in percent, as the published page has them
PUBLISHED_CLASSES = [
    ("airplane", 91, 74),
    ("automobile", 97, 93),
    ("bird", 92, 82),
    ("cat", 87, 61),
    ("deer", 90, 82),
    ("dog", 88, 86),
    ("frog", 96, 82),
    ("horse", 99, 87),
    ("ship", 92, 91),
    ("truck", 95, 88),
]


def system(label: str = "SEL", **last: float | str) -> System:
    return System(label, ("a", "b"), [{"epoch": 1.0, **last}])


def test_the_published_page_comes_out_of_the_published_histories(published: Path) -> None:
    reference = read_reference(published)
    dense, sel = tables.system_row(reference.dense), tables.system_row(reference.sel)
    saved = tables.savings(dense, sel)

    assert (dense.test_full_acc, dense.test_100_acc, dense.epochs) == (0.932, 0.927, 30)
    assert (sel.test_full_acc, sel.test_100_acc, sel.epochs) == (0.822, 0.826, 50)
    assert dense.paper_flops == pytest.approx(33.5e12, rel=0.001)
    assert sel.paper_flops == pytest.approx(0.338e12, rel=0.001)
    assert saved.paper_flops == pytest.approx(0.99, abs=0.001)
    assert saved.time == pytest.approx(0.42, abs=0.005)
    assert saved.test_full_acc == pytest.approx(-0.11)
    assert saved.executed_flops is None  # the published page never counted them


def test_the_published_class_table_comes_out_too(published: Path) -> None:
    reference = read_reference(published)
    rows = tables.class_rows(reference.dense, reference.sel, 100)
    assert [
        (row.name, round(100 * (row.dense_acc or 0)), round(100 * (row.sel_acc or 0)))
        for row in rows
    ] == PUBLISHED_CLASSES
    notes = {row.name: row.note for row in rows}
    assert notes["cat"] == "Largest loss, hardest class for SEL"
    assert notes["ship"] == notes["dog"] == "Within chance"
    assert notes["airplane"] == ""


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e6))
def test_what_was_saved_and_what_is_left_make_the_whole(dense: float, sel: float) -> None:
    row = tables.savings(
        tables.system_row(system("dense", time_s=dense)), tables.system_row(system(time_s=sel))
    )
    assert row.time is not None
    assert dense * (1 - row.time) == pytest.approx(sel, rel=1e-6, abs=1e-6)
    assert (row.time < 0) == (sel > dense)


def test_measured_and_estimated_joules_are_never_compared() -> None:
    measured = tables.system_row(system("dense", energy_j=10.0, energy_origin="measured"))
    estimated = tables.system_row(system(energy_j=1.0, energy_origin="estimated"))
    assert tables.savings(measured, estimated).energy is None
    assert tables.savings(measured, measured).energy == 0


def test_joules_without_an_origin_are_not_shown() -> None:
    assert tables.system_row(system(energy_j=10.0)).energy_j is None


def test_a_loss_is_worded_as_one() -> None:
    dense = tables.system_row(system("dense", flops_T=1.0, executed_flops_T=1.0, time_s=10.0))
    sel = tables.system_row(system(flops_T=0.01, executed_flops_T=1.2, time_s=30.0))
    cells = dict(
        zip(tables.SYSTEM_HEADER, tables.savings_cells(tables.savings(dense, sel)), strict=True)
    )
    assert cells["Paper FLOPs"] == f"99.0{NBSP}% fewer"
    assert cells["Executed FLOPs"] == f"20.0{NBSP}% more"
    assert cells["Time"] == "3.0 times as much"


def test_few_images_make_chance_wider() -> None:
    dense, sel = system("dense", acc_a=0.9, acc_b=0.5), system(acc_a=0.78, acc_b=0.5)
    assert "chance" not in tables.class_rows(dense, sel, 100)[0].note
    assert "chance" in tables.class_rows(dense, sel, 20)[0].note


@pytest.mark.parametrize("content", ["", "epoch\n1\n", "epoch,train_acc\n1,2,3\n", "\x00\xff"])
def test_a_bad_reference_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "baseline_hist.csv").write_text(content)
    with pytest.raises(DataError, match=r"baseline_hist\.csv"):
        read_reference(tmp_path)


def test_a_missing_reference_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"baseline_hist\.csv"):
        read_reference(tmp_path)
