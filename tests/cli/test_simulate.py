"""`sel-edge simulate`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.bundle import Bundle
from tests.cli.living import ledger_of
from tests.simulate.gratings import make_bundle, make_world

Call = Callable[..., Any]
WEEK = ("--profile", "pi-zero-2w", "--battery", "10Wh", "--solar", "clear-sky:2")
SHORT = (*WEEK, "--days", "1", "--frames-per-day", "400")


@pytest.fixture(scope="module")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("simulate"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_world(tmp_path_factory.mktemp("world"))


def test_it_writes_a_page_a_series_a_summary_and_a_ledger(
    call: Call, gratings: Bundle, world: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = call("simulate", gratings.path, "--source", world, *SHORT, "--out", out)
    assert result.code == 0
    assert "on for all of 1.0" in result.out
    assert str(out / "simulation.html") in result.out
    with (out / "series.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["answered"]) for row in rows) >= 400
    assert float(rows[0]["charge_j"]) < 18_000 == 10 * 3600 / 2
    summary = json.loads((out / "summary.json").read_text())
    assert summary["energy_origin"] == "estimated"
    (session,) = ledger_of(out / "state").sessions
    assert session.started_utc == "2026-01-01T00:00:00+00:00"
    assert session.meter.startswith("simulated:pi-zero-2w")
    assert "<svg" in (out / "simulation.html").read_text()


def test_json_is_the_summary(call: Call, gratings: Bundle, world: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--source", world, *SHORT, "--out", out, "--json")
    result = call("simulate", gratings.path, *arguments)
    assert json.loads(result.out) == json.loads((out / "summary.json").read_text())


def test_a_curve_from_a_file_charges_as_well(
    call: Call, gratings: Bundle, world: str, tmp_path: Path
) -> None:
    curve = tmp_path / "sun.csv"
    curve.write_text("time,watts\n06:00,0\n12:00,3\n18:00,0\n")
    options = [*SHORT, "--solar", curve, "--start-charge", "1Wh", "--out", tmp_path / "out"]
    said = json.loads(call("simulate", gratings.path, "--source", world, *options, "--json").out)
    assert said["missed"] > 0  # 1 Wh does not last until sunrise
    assert said["lowest_charge"] == 0
    assert said["last_charge"] > 0.1


def test_the_budgets_degrees_count_unless_others_are_given(
    call: Call, gratings: Bundle, world: str, tmp_path: Path
) -> None:
    budget = tmp_path / "cold.toml"
    budget.write_text("celsius_max = 30\ncelsius_hysteresis = 1\n")
    source = ("--source", world.split("+")[1], *SHORT, "--budget", budget, "--json")
    cold = call("simulate", gratings.path, *source, "--out", tmp_path / "cold")
    warm = call(
        "simulate", gratings.path, *source, "--out", tmp_path / "warm", "--celsius-max", "60"
    )
    cold, warm = (json.loads(each.out)["decisions"] for each in (cold, warm))
    assert cold["defer"] > 0 == cold["fire"]
    assert warm["fire"] > 0 == warm["defer"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--battery", "10"], 6, ["10", "Wh"]),
        (["--battery", "ten Wh"], 6, ["ten Wh"]),
        (["--battery", "0Wh"], 6, ["0Wh"]),
        (["--start-charge", "11Wh"], 6, ["11Wh", "capacity"]),
        (["--start-charge", "half"], 6, ["half"]),
        (["--start-charge", "101%"], 6, ["101%"]),
        (["--solar", "clear-sky:lots"], 6, ["lots", "PEAK_W"]),
        (["--solar", "clear-sky:-1"], 6, ["peak_w"]),
        (["--solar", "nowhere.csv"], 6, ["nowhere.csv"]),
        (["--profile", "pi-9"], 6, ["pi-9", "pi-zero-2w"]),
        (["--budget", "nowhere.toml"], 6, ["nowhere.toml"]),
        (["--source", "digits:nowhere"], 3, ["digits"]),
        (["--source", "digits"], 3, ["made for"]),
    ],
)
def test_what_cannot_be_understood_is_refused(
    call: Call,
    gratings: Bundle,
    world: str,
    tmp_path: Path,
    options: list[str],
    code: int,
    words: list[str],
) -> None:
    out = tmp_path / "out"
    result = call("simulate", gratings.path, "--source", world, *SHORT, "--out", out, *options)
    assert result.code == code
    result.says(*words)
    assert not out.exists()


def test_nothing_is_overwritten(call: Call, gratings: Bundle, world: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = call("simulate", gratings.path, "--source", world, *SHORT, "--out", tmp_path)
    assert result.code == 5
    result.says(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_bundle_is_not_written_into(call: Call, gratings: Bundle, world: str) -> None:
    inside = gratings.path / "out"
    result = call("simulate", gratings.path, "--source", world, *SHORT, "--out", inside)
    assert result.code == 6
    result.says("--out", "inside the bundle")


def test_an_interrupted_simulation_tells_of_the_days_it_had(
    gratings: Bundle, world: str, tmp_path: Path
) -> None:
    program = [sys.executable, "-c", "from sel_edge.cli.main import main; main()", "simulate"]
    out = tmp_path / "out"
    arguments = ["--source", world, *WEEK, "--days", "3650", "--out", str(out), "--json"]
    with subprocess.Popen(
        [*program, str(gratings.path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        while not (out / "state" / "samples.sqlite").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert json.loads(printed)["days"] < 3650
    assert (out / "simulation.html").exists()
