"""`sel-edge adapt`: learns from the labels that are there, or says what that would take."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter
from sel_edge.data.stream import open_stream
from sel_edge.runtime.samples import SAMPLES_FILE, SampleStore
from sel_edge.runtime.slots import open_slots
from tests.cli.living import contents, ledger_of
from tests.simulate.gratings import make_bundle, make_world

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("adapt"))


@pytest.fixture
def state(call: Call, gratings: Bundle, tmp_path: Path) -> Path:
    """A device in front of a tilted camera, with a budget too small to learn anything."""
    budget = tmp_path / "nothing.toml"
    budget.write_text("flops_per_day = 1\n")
    source = make_world(tmp_path).split("+")[1]
    folder = tmp_path / "state"
    arguments = ("--source", source, "--state", folder, "--budget", budget)
    result = call("run", gratings.path, *arguments)
    assert result.code == 0
    assert "defer: head: flops_per_day: " in result.err
    assert "Nothing was learned" in result.out
    (folder / "wallet.json").unlink()  # without the budget there is none
    return folder


def test_a_dry_run_says_the_price_and_changes_nothing(
    call: Call, gratings: Bundle, state: Path
) -> None:
    before = contents(state)
    result = call("adapt", gratings.path, "--state", state, "--dry-run")
    assert result.code == 0
    heading, predicted, wallet = result.out.splitlines()
    assert heading.startswith("head: classifier rows of ")
    assert " labels, " in heading and heading.endswith(" steps")
    for word in ("FLOP", "J estimated", "s", "B of memory"):
        assert word in predicted
    assert wallet.split(maxsplit=1) == ["wallet", "can pay for twice that, the worst case"]
    assert contents(state) == before


def test_a_dry_run_with_a_budget_changes_nothing_either(
    call: Call, gratings: Bundle, state: Path, tmp_path: Path
) -> None:
    budget = tmp_path / "little.toml"
    budget.write_text("energy_j_per_day = 1e-3\n")
    before = contents(state)
    arguments = ("--state", state, "--dry-run", "--budget", budget)
    result = call("adapt", gratings.path, *arguments, "--json")
    said = json.loads(result.out)
    assert said["dry_run"] is True
    (plan,) = said["plans"]
    assert plan["wallet"].startswith("energy_j_per_day: ")
    assert plan["decisions"] == plan["updates"] == []
    assert contents(state) == before


def test_it_learns_what_the_triggers_were_not_allowed_to(
    call: Call, gratings: Bundle, state: Path
) -> None:
    frames = sum(tick.n for tick in ledger_of(state).ticks)
    said = json.loads(call("adapt", gratings.path, "--state", state, "--json").out)
    (plan,) = said["plans"]
    (update,) = plan["updates"]
    assert [decision["kind"] for decision in plan["decisions"]] == ["fire", "keep"]
    assert update["kept"] is True
    assert update["predicted_flops"] == plan["predicted_flops"] >= update["executed_flops"] > 0
    assert update["energy"]["origin"] in ("measured", "estimated")
    ledger = ledger_of(state)
    assert [u.kept for u in ledger.updates] == [True]
    assert sum(tick.n for tick in ledger.ticks) == frames
    history = call("history", state).out
    assert "(confirmed)" in history
    assert call("report", state).code == 0


def test_the_wallet_is_asked_before_anything_is_learned(
    call: Call, gratings: Bundle, state: Path, tmp_path: Path
) -> None:
    budget = tmp_path / "little.toml"
    budget.write_text("energy_j_per_day = 1e-3\n")
    result = call("adapt", gratings.path, "--state", state, "--budget", budget)
    assert result.code == 0
    assert "wallet     energy_j_per_day: " in result.out
    ledger = ledger_of(state)
    assert ledger.updates == []
    assert ledger.decisions[-1].kind == "defer"


def test_the_same_labels_prove_nothing_twice(call: Call, gratings: Bundle, state: Path) -> None:
    first = json.loads(call("adapt", gratings.path, "--state", state, "--json").out)
    assert [update["kept"] for plan in first["plans"] for update in plan["updates"]] == [True]
    ledger = ledger_of(state)
    for _ in range(2):
        again = json.loads(call("adapt", gratings.path, "--state", state, "--json").out)
        assert again["plans"] == [] and again["notes"] == []
    assert ledger_of(state) == ledger


def test_the_ledger_tells_what_its_joules_were_measured_by(
    call: Call, gratings: Bundle, state: Path
) -> None:
    """It may be another machine than the one that saw the frames."""
    frames = sum(tick.n for tick in ledger_of(state).ticks)
    call("adapt", gratings.path, "--state", state, "--dry-run")
    assert len(ledger_of(state).sessions) == 1
    call("adapt", gratings.path, "--state", state, "--profile", "pi-zero-2w")
    before, session = ledger_of(state).sessions
    assert (session.frame, session.source) == (frames, "sel-edge adapt")
    assert session.meter != before.meter and "pi-zero-2w" in session.meter
    assert session.energy_origin == ledger_of(state).updates[0].energy.origin == "estimated"


def test_a_network_that_waits_to_be_confirmed_outlives_adapting_nothing(
    call: Call, gratings: Bundle, tmp_path: Path
) -> None:
    source = make_world(tmp_path).split("+")[0].replace("labels=0.3&", "")
    folder = tmp_path / "waiting"
    arguments = ("--source", source, "--state", folder)
    assert call("run", gratings.path, *arguments).code == 0
    with open_slots(folder, gratings) as slots:
        head = slots.current().head
        slots.commit(slots.current().with_head(replace(head, bias=head.bias + 1)), frame=0)
    for _ in range(3):
        assert "Nothing can be learned" in call("adapt", gratings.path, "--state", folder).out
        assert "(not confirmed yet)" in call("history", folder).out
    assert call("run", gratings.path, *arguments).code == 0
    assert "(confirmed)" in call("history", folder).out


def test_what_was_done_is_said(call: Call, gratings: Bundle, state: Path) -> None:
    lines = call("adapt", gratings.path, "--state", state).out.splitlines()
    assert [line.split()[0] for line in lines] == ["head:", "predicted", "wallet", "keep", "took"]
    assert "held-out labels" in lines[3]


def test_without_labels_nothing_can_be_learned(
    call: Call, gratings: Bundle, state: Path, tmp_path: Path
) -> None:
    source = make_world(tmp_path).split("+")[0].replace("labels=0.3&", "")
    folder = tmp_path / "fresh"
    assert call("run", gratings.path, "--source", source, "--state", folder).code == 0
    result = call("adapt", gratings.path, "--state", folder)
    assert result.code == 0
    assert "Nothing can be learned" in result.out
    assert json.loads(call("adapt", gratings.path, "--state", folder, "--json").out)["plans"] == []


def test_answers_of_people_are_learned_from(call: Call, gratings: Bundle, tmp_path: Path) -> None:
    """A camera that was tilted before anybody said so: the labels come from a desk alone."""
    clean, tilted, _ = make_world(tmp_path).split("+")
    folder = tmp_path / "asked"
    silent = f"{tilted}+{clean}".replace("labels=0.3&", "")
    assert call("run", gratings.path, "--source", silent, "--state", folder).code == 0
    truths = _truths(silent)
    with SampleStore(folder / SAMPLES_FILE) as store:
        waiting = [each.number for each in store.queue(1000)]
    answers = [f"{number}={truths[number]}" for number in waiting]
    assert call("label", folder, *answers).code == 0
    said = json.loads(call("adapt", gratings.path, "--state", folder, "--json").out)
    assert [plan["labels"] > 0 for plan in said["plans"]] == [True]
    assert ledger_of(folder).updates


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_place_without_a_device_is_refused(
    call: Call, gratings: Bundle, tmp_path: Path, dry: tuple[str, ...]
) -> None:
    result = call("adapt", gratings.path, "--state", tmp_path / "typo", *dry)
    assert result.code == 5
    result.says("typo", LEDGER_FILE)
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_device_that_runs_is_left_alone(
    call: Call, gratings: Bundle, state: Path, dry: tuple[str, ...]
) -> None:
    with LedgerWriter(state / LEDGER_FILE):
        result = call("adapt", gratings.path, "--state", state, *dry)
    assert result.code == 5
    result.says("in use")


def test_another_bundles_state_is_refused(
    call: Call, gratings: Bundle, state: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(gratings.path, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["provenance"]["made_by"] = "somebody else"
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert call("adapt", other, "--state", state).code == 4


def _truths(source: str) -> list[str | None]:
    return [truth for batch in open_stream(source).batches(64) for truth in batch.truths]
