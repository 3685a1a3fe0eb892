"""`sel-edge history` and `sel-edge rollback` on the state of a device that has learned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sel_edge.runtime.slots import open_slots
from tests.runtime.trainable import bundle
from tests.runtime.updates import own
from tools.powercut_slots import changed


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Three updates, each of two rows."""
    with open_slots(tmp_path / "state", bundle()) as slots:
        for number in range(3):
            rng = np.random.default_rng(number)
            slots.commit(changed(slots.current(), rng), frame=1000 * number)
            slots.confirm()
    return tmp_path / "state"


def told(call, state: Path) -> dict:
    result = call("history", state, "--json")
    assert result.code == 0 and result.out.count("\n") == 1
    return json.loads(result.out)


def in_use(state: Path) -> str:
    with open_slots(state, bundle()) as slots:
        return slots.current().hash


def test_the_history_is_a_table_of_updates(call, state):
    result = call("history", state)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].split() == ["bundle", bundle().manifest.bundle_hash]
    assert lines[1].split()[:2] == ["network", in_use(state)] and "(confirmed)" in lines[1]
    assert [line.split()[0] for line in lines[4:]] == ["1", "2", "3"]
    assert "bundle" in lines[4] and "2,000" in lines[6] and "2 rows of 1 tensors" in lines[6]
    assert all(
        word in line for word, line in zip(["kept", "kept", "current"], lines[4:], strict=True)
    )


def test_the_same_as_json(call, state):
    history = told(call, state)
    entries = history["entries"]
    assert [entry["frame"] for entry in entries] == [0, 1000, 2000]
    assert [entry["state"] for entry in entries] == ["kept", "kept", "current"]
    assert history["current"] == entries[-1]["network"] == in_use(state)
    assert entries[0]["parent"] == history["unchanged"] == own().hash


def test_rollback_undoes_the_last_update_and_can_be_undone(call, state):
    first, second, third = (entry["network"] for entry in told(call, state)["entries"])
    result = call("rollback", state)
    assert result.code == 0
    assert result.out.splitlines()[0].startswith("Update 3 (frame 2,000: 2 rows of 1 tensors) is")
    assert in_use(state) == second
    assert call("rollback", state, "--to", "bundle").code == 0
    assert in_use(state) == own().hash
    assert "the bundle’s own" in call("history", state).out
    result = call("rollback", state, "--to", third[:12])
    assert result.out.count("is used again") == 3 and in_use(state) == third
    assert call("rollback", state, "--to", first).out.count("is undone") == 2
    assert [e["state"] for e in told(call, state)["entries"]] == ["current", "undone", "undone"]


def test_updates_that_lead_back_to_an_earlier_network_are_all_told(call, tmp_path):
    with open_slots(tmp_path, bundle()) as slots:
        once = changed(slots.current(), np.random.default_rng(0))
        twice = changed(once, np.random.default_rng(1))
        for network in (once, twice, once, twice):
            slots.commit(network, frame=0)
            slots.confirm()
    lines = call("rollback", tmp_path, "--to", "bundle").out.splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["4", "3", "2", "1"]


def test_a_dry_run_changes_nothing(call, state):
    before = told(call, state)
    result = call("rollback", state, "--to", "bundle", "--dry-run")
    assert result.code == 0 and result.out.count("would be undone") == 3
    assert f"would be {own().hash} (the bundle's own)" in result.out
    assert told(call, state) == before


def test_going_where_one_is_changes_nothing(call, state):
    before = told(call, state)
    assert "in use already" in call("rollback", state, "--to", before["current"]).out
    assert told(call, state) == before


def test_a_pending_update_is_told(call, state):
    with open_slots(state, bundle()) as slots:
        slots.commit(changed(slots.current(), np.random.default_rng(9)), frame=1)
    assert "not confirmed yet" in call("history", state).out
    assert told(call, state)["confirmed"] is False


def test_damage_is_told(call, state):
    last = told(call, state)["entries"][-1]
    (state / "slots" / "deltas" / f"{last['delta']}.delta").unlink()
    assert "cannot be used as a whole" in call("history", state).out
    assert told(call, state)["current"] == last["parent"]
    result = call("rollback", state)
    assert result.code == 0 and "cannot be used as a whole" in result.err


@pytest.mark.parametrize("to", ["123", "00" * 32])
def test_an_unknown_network_is_refused(call, state, to):
    result = call("rollback", state, "--to", to)
    assert result.code == 4
    result.says("names 0 networks", "sel-edge history")


def test_a_running_device_cannot_be_rolled_back(call, state):
    with open_slots(state, bundle()):
        assert call("history", state).code == 0
        result = call("rollback", state)
        assert result.code == 5
        result.says("in use by another process")


@pytest.mark.parametrize("name", ["history", "rollback"])
def test_a_directory_without_slots_is_refused_and_left_alone(call, tmp_path, name):
    result = call(name, tmp_path / "nowhere")
    assert result.code == 5
    result.says("holds no slots", "state directory")
    assert not (tmp_path / "nowhere").exists()


def test_a_device_that_kept_nothing(call, tmp_path):
    open_slots(tmp_path, bundle()).close()
    assert "No update was kept" in call("history", tmp_path).out
    result = call("rollback", tmp_path)
    assert result.code == 5
    result.says("No update was kept")
