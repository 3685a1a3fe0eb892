"""`sel-edge energy`: calibration on a simulated meter, and what ledgers were charged with."""

import json

import pytest

from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter, Session
from sel_edge.core.measurement import Energy
from sel_edge.energy.calibrate import Work
from sel_edge.energy.meter import Choice
from sel_edge.energy.profile import load_profile
from sel_edge.energy.sampled import SampledMeter
from tests.core import ledgers
from tests.energy.test_calibrate import TRUTH, Machine


@pytest.fixture
def simulated(monkeypatch):
    """A machine with a sensor whose seconds pass in no time."""
    machine = Machine(TRUTH)
    from sel_edge.cli import energy

    real = energy.run_loads
    monkeypatch.setattr(energy, "choose_meter", lambda profile: Choice(machine, ()))
    monkeypatch.setattr(
        energy,
        "run_loads",
        lambda meter, kinds, seconds: real(
            meter, machine.kinds, seconds, machine.clock, machine.spend
        ),
    )
    monkeypatch.setattr(energy, "works", lambda ram_bytes: (Work(int, 0, 0),))
    return machine


def test_a_calibrated_profile_can_be_used_at_once(call, simulated, tmp_path):
    out = tmp_path / "my-board.toml"
    result = call("energy", "calibrate", "--profile", "pi-5", "--seconds", "20", "--out", out)
    assert result.code == 0, result.err
    assert "3e-10 J/FLOP" in result.out and "hwmon:simulated" in result.out
    profile = load_profile(out)
    assert (profile.name, profile.cores) == ("my-board", 4)
    assert profile.measured_by == "hwmon:simulated"
    assert simulated.now == pytest.approx(20, rel=0.05)
    shown = call("devices", out)
    assert shown.code == 0 and "measured: by hwmon:simulated" in shown.out


def test_the_fit_can_be_had_as_json(call, simulated, tmp_path):
    result = call("energy", "calibrate", "--json", "--out", tmp_path / "a.toml")
    found = json.loads(result.out)
    assert found["fit"]["model"]["idle_w"] == pytest.approx(2.0)
    assert len(found["loads"]) == 14


@pytest.mark.parametrize(
    ("name", "code"), [("board", 6), ("my board.toml", 6), ("there.toml", 5), ("dir", 6)]
)
def test_a_place_that_cannot_take_a_profile_is_refused_before_anything_runs(
    call, simulated, tmp_path, name, code
):
    (tmp_path / "there.toml").write_text("precious")
    (tmp_path / "dir").mkdir()
    result = call("energy", "calibrate", "--out", tmp_path / name)
    assert result.code == code
    result.says(name)
    assert simulated.now == 0
    assert (tmp_path / "there.toml").read_text() == "precious"


def test_a_machine_that_can_only_estimate_is_refused(call, simulated, tmp_path, monkeypatch):
    simulated.origin = "estimated"
    result = call("energy", "calibrate", "--out", tmp_path / "a.toml")
    assert result.code == 7
    result.says("no energy meter", "INA219")
    assert not (tmp_path / "a.toml").exists()


def ledger(folder, *energies, updates=(), watching_flops=0):
    with LedgerWriter(folder / LEDGER_FILE) as writer:
        writer.record_session(
            Session(0, "2026-01-01T00:00:00", "digits", "0", "", "rapl:package-0", "measured", {})
        )
        for number, energy in enumerate(energies):
            tick = ledgers.tick(number, 1, energy=energy, watching_flops=watching_flops)
            writer.record(tick, updates=updates)
    return folder


def test_joules_are_told_by_kind_and_origin(call, tmp_path):
    energies = [Energy(1.5, "measured"), Energy(2.0, "measured"), Energy(8.0, "estimated")]
    folder = ledger(tmp_path / "state", *energies)
    for place in (folder, folder / LEDGER_FILE, tmp_path):
        lines = call("energy", "report", place).out.splitlines()
        assert "3.5\u00a0J measured" in lines[1] and "2 ticks" in lines[1]
        assert "8\u00a0J estimated" in lines[2] and "1 tick" in lines[2]
        assert "rapl:package-0" in lines[3]


def test_watching_and_every_rung_are_told_apart(call, tmp_path):
    updates = [ledgers.update(rung="norm"), ledgers.update(kept=False)]
    folder = ledger(
        tmp_path / "state", Energy(4.0, "measured"), updates=updates, watching_flops=1000
    )
    lines = [
        line.replace("\u00a0", " ") for line in call("energy", "report", folder).out.splitlines()
    ]
    assert lines[1].startswith("  inference                2 J measured (by share), ")
    assert lines[2].startswith("  watching                 2 J measured (by share), ")
    assert lines[3].startswith(
        "  adapting norm, kept      250 mJ estimated, 200 ms, 5 kFLOP, 1 upd"
    )
    assert lines[4].startswith("  adapting head, not kept  250 mJ estimated")
    assert "metered together, and divided by their share of the FLOPs" in lines[5]
    found = json.loads(call("energy", "report", "--json", folder).out)["ledgers"][0]["spent"]
    assert [each["is_divided"] for each in found] == [True, True, False, False]


def test_every_ledger_under_a_directory_is_reported_apart(call, tmp_path):
    for name in ("a", "b"):
        ledger(tmp_path / name, Energy(1.0, "estimated"))
    found = json.loads(call("energy", "report", "--json", tmp_path).out)["ledgers"]
    assert [each["path"] for each in found] == [
        str(tmp_path / name / LEDGER_FILE) for name in ("a", "b")
    ]
    assert [each["spent"][0]["joules"] for each in found] == [1.0, 1.0]


def test_an_empty_ledger_says_so(call, tmp_path):
    with LedgerWriter(tmp_path / LEDGER_FILE):
        pass
    assert "Nothing was spent yet." in call("energy", "report", tmp_path).out


def test_where_there_is_no_ledger_it_says_what_is_missing(call, tmp_path):
    (tmp_path / "empty").mkdir()
    result = call("energy", "report", tmp_path / "empty")
    assert result.code == 5
    result.says("There is no ledger.sqlite")
    call("energy", "report", tmp_path / "missing").says("does not exist")
    (tmp_path / "text").write_text("joules")
    call("energy", "report", tmp_path / "text").says("no ledger")


def test_what_sampling_may_have_missed_is_told(call, tmp_path, monkeypatch):
    from sel_edge.cli import energy

    simulated, watts = Machine(TRUTH), iter([1.0, 3.0, 2.0] * 10**6)
    meter = SampledMeter("hwmon:ina219", lambda: next(watts), 0.001)
    loads = energy.run_loads(simulated, simulated.kinds, 20, simulated.clock, simulated.spend)
    monkeypatch.setattr(energy, "choose_meter", lambda profile: Choice(meter, ()))
    monkeypatch.setattr(energy, "run_loads", lambda *_: (meter.read_j(), meter.read_j(), loads)[2])
    result = call("energy", "calibrate", "--out", tmp_path / "a.toml")
    assert result.code == 0, result.err
    assert "Between its samples the meter may have missed" in result.out
    found = json.loads(call("energy", "calibrate", "--json", "--out", tmp_path / "b.toml").out)
    assert found["unseen_j"] > 0
