"""`compare` writes both tables and every plot, for any class names, or says why it cannot."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from sel_edge.core.errors import DataError, MissingDependencyError, RunDirectoryError
from sel_edge.core.runlog import read_history, write_history
from sel_edge.report.compare import write_compare

PLOTS = {
    "accuracy-dense",
    "accuracy-sel",
    "head-to-head",
    "embarrassment",
    "confidence",
    "frozen",
    "flops",
    "time",
    "per-class",
    "accuracy-saved",
    "grid-dense",
    "grid-sel",
}
Make = Callable[..., Path]


def texts(svg: bytes) -> str:
    return " ".join(ET.fromstring(svg).itertext())  # noqa: S314 - our own file


def test_both_tables_and_every_plot_are_written(make_run: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("stays")
    numbers = write_compare(make_run("dense", False), make_run("sel", True), out)

    assert json.loads((out / "tables.json").read_text()) == numbers
    assert {plot["file"] for plot in numbers["plots"]} == {f"{name}.svg" for name in PLOTS}
    assert all((out / plot["file"]).is_file() for plot in numbers["plots"])
    assert numbers["savings"]["paper_flops"] == pytest.approx(0.99)
    assert numbers["savings"]["executed_flops"] == 0
    markdown = (out / "tables.md").read_text()
    assert "| SEL against dense |" in markdown
    assert "| ship |" in markdown
    assert (out / "mine.txt").read_text() == "stays"


def test_plots_carry_titles_and_units(make_run: Make, tmp_path: Path) -> None:
    write_compare(make_run("dense", False), make_run("sel", True), tmp_path / "out")
    expected = {
        "time": "time since the start, s",
        "flops": "FLOPs since the start",
        "head-to-head": "epoch",
        "embarrassment": "nats",
        "accuracy-saved": "FLOPs saved",
        "frozen": "share of all parameters",
        "grid-sel": "right, 95 % sure",
    }
    for name, words in expected.items():
        assert words in texts((tmp_path / "out" / f"{name}.svg").read_bytes())


def test_hostile_class_names_stay_text(
    make_run: Make, tmp_path: Path, hostile: tuple[str, ...]
) -> None:
    runs = (make_run("dense", False, hostile), make_run("sel", True, hostile))
    numbers = write_compare(*runs, tmp_path / "out")
    assert [row["name"] for row in numbers["classes"]] == list(hostile)
    for plot in numbers["plots"]:
        tree = ET.fromstring((tmp_path / "out" / plot["file"]).read_bytes())  # noqa: S314
        names = {element.tag.rpartition("}")[2] for element in tree.iter()}
        assert not names & {"script", "img", "foreignObject"}
    grid = texts((tmp_path / "out" / "grid-sel.svg").read_bytes())
    assert "<script>alert(1)</script>" in grid
    assert "<script>" not in (tmp_path / "out" / "tables.md").read_text()


def test_the_same_runs_give_the_same_bytes(make_run: Make, tmp_path: Path) -> None:
    runs = (make_run("dense", False), make_run("sel", True))
    for out in ("one", "two"):
        write_compare(*runs, tmp_path / out)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize("epochs", [1, 7])
def test_published_curves_lie_under_ours(
    make_run: Make, tmp_path: Path, published: Path, epochs: int
) -> None:
    classes = ("cat", "dog", "elephant")  # one class the published page does not have
    runs = [make_run(n, s, classes, epochs) for n, s in (("dense", False), ("sel", True))]
    numbers = write_compare(runs[0], runs[1], tmp_path / "out", published)
    assert [row["system"] for row in numbers["published"]] == ["published dense", "published SEL"]
    for name in ("head-to-head", "time", "flops", "embarrassment", "accuracy-sel", "per-class"):
        assert "published" in texts((tmp_path / "out" / f"{name}.svg").read_bytes())


def test_a_history_without_our_columns_still_compares(make_run: Make, tmp_path: Path) -> None:
    runs = [make_run("dense", False, samples=False), make_run("sel", True, samples=False)]
    for path in runs:
        rows = read_history(path / "history.csv")
        kept = [name for name in rows[0] if not name.startswith(("E_", "C_", "executed", "energy"))]
        write_history(path, kept, rows)
    numbers = write_compare(runs[0], runs[1], tmp_path / "out")
    assert numbers["savings"]["executed_flops"] is None
    assert len(numbers["plots"]) == len(PLOTS) - 2


def test_a_costlier_sel_is_told_as_costlier(make_run: Make, tmp_path: Path) -> None:
    dense, sel = make_run("dense", False), make_run("sel", True, executed_per_epoch_T=5.0)
    numbers = write_compare(dense, sel, tmp_path / "out")
    assert numbers["savings"]["executed_flops"] == pytest.approx(-1.5)
    assert "2.5 times as many" in (tmp_path / "out" / "tables.md").read_text()


def test_many_classes_keep_the_plots_readable(make_run: Make, tmp_path: Path) -> None:
    classes = [f"class {index}" for index in range(60)]
    runs = (make_run("dense", False, classes), make_run("sel", True, classes))
    numbers = write_compare(*runs, tmp_path / "out")
    captions = {plot["file"]: plot["caption"] for plot in numbers["plots"]}
    assert "40 weakest of 60" in captions["per-class.svg"]
    assert "first 12 of 60" in captions["grid-sel.svg"]


def test_differences_between_the_runs_are_said(make_run: Make, tmp_path: Path) -> None:
    runs = (make_run("dense", False, seed=1), make_run("sel", True, seed=2, finished=False))
    setting = write_compare(*runs, tmp_path / "out")["setting"]
    assert "Seed differs: dense 1, SEL 2." in setting
    assert "The SEL run is not finished: 4 epochs so far." in setting


def test_what_was_held_out_and_how_energy_was_read_are_said(make_run: Make, tmp_path: Path) -> None:
    rapl = {"meter": "rapl:package-0", "origin": "measured"}
    runs = [make_run(n, s, energy=e) for n, s, e in (("d", False, rapl), ("s", True, rapl))]
    setting = write_compare(runs[0], runs[1], tmp_path / "out")["setting"]
    assert "Held out per class: 0." in setting
    (meter,) = [line for line in setting if "rapl:package-0" in line]
    assert "idle power and other processes included" in meter
    other = make_run("other", True, energy={"meter": "nvml:0 (GPU only)", "origin": "measured"})
    setting = write_compare(runs[0], other, tmp_path / "out")["setting"]
    assert any(line.startswith("dense: Joules measured by rapl:") for line in setting)
    assert any(line.startswith("SEL: Joules measured by nvml:0") for line in setting)


def test_the_note_of_the_data_is_in_the_text(make_run: Make, tmp_path: Path) -> None:
    for name, staged in (("d", False), ("s", True)):
        path = make_run(name, staged) / "run.json"
        info = json.loads(path.read_text())
        info["data"]["note"] = "JPEG, quality 75, 4:2:0"
        path.write_text(json.dumps(info))
    numbers = write_compare(tmp_path / "d", tmp_path / "s", tmp_path / "out")
    assert numbers["data_note"] == "JPEG, quality 75, 4:2:0"
    assert "JPEG, quality 75, 4:2:0" in (tmp_path / "out" / "tables.md").read_text()


def test_swapped_runs_are_refused_with_the_right_command(make_run: Make, tmp_path: Path) -> None:
    dense, sel = make_run("dense", False), make_run("sel", True)
    with pytest.raises(DataError, match=f"sel-edge compare {dense} {sel}"):
        write_compare(sel, dense, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_on_other_data_are_refused(make_run: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="different data"):
        write_compare(make_run("d", False), make_run("s", True, ("cat", "dog")), tmp_path / "out")


def test_a_directory_without_a_run_is_refused(make_run: Make, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError):
        write_compare(make_run("dense", False), tmp_path / "nothing", tmp_path / "out")


def test_a_run_without_an_epoch_is_refused(make_run: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not finished an epoch"):
        write_compare(make_run("d", False, epochs=0), make_run("s", True), tmp_path / "out")


def test_without_matplotlib_it_says_what_to_install(
    make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("sel_edge.report.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("sel_edge.report.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        write_compare(make_run("dense", False), make_run("sel", True), tmp_path / "out")
