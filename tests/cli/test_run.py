"""`sel-edge run`: its budget, its lines, its end."""

from __future__ import annotations

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


@pytest.fixture(scope="module")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("run"))


def test_every_decision_is_a_line_and_the_end_says_what_learning_took(
    call: Call, gratings: Bundle, tmp_path: Path
) -> None:
    result = call("run", gratings.path, "--source", make_world(tmp_path), "--state", tmp_path / "s")
    assert result.code == 0
    decisions = ledger_of(tmp_path / "s").decisions
    assert {"fire", "keep"} <= {decision.kind for decision in decisions}
    lines = result.err.splitlines()
    for decision in decisions:
        assert sum(f"{decision.kind}: {decision.reason}" in line for line in lines) >= 1
    (cost,) = [line for line in result.out.splitlines() if line.startswith("Learning (")]
    assert "predicted" in cost and "it took" in cost


def test_a_budget_limits_learning_alone(call: Call, gratings: Bundle, tmp_path: Path) -> None:
    budget = tmp_path / "budget.toml"
    budget.write_text('capacity_j = "1J"\nenergy_j_per_day = 1e-6\n')
    options = ("--state", tmp_path / "s", "--budget", budget, "--profile", "pi-5")
    result = call("run", gratings.path, "--source", make_world(tmp_path), *options)
    assert result.code == 0
    ledger = ledger_of(tmp_path / "s")
    assert sum(tick.n for tick in ledger.ticks) == 700
    assert ledger.updates == []
    assert ledger.balances[-1].balances["battery"][1] == 1.0
    assert "Nothing was learned" in result.out
    assert json.loads((tmp_path / "s" / "wallet.json").read_text())["version"] == 1


@pytest.mark.parametrize("command", ["run", "adapt"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--budget", "nowhere.toml"], ["nowhere.toml"]),
        (["--profile", "pi-9"], ["pi-9", "pi-zero-2w"]),
    ],
)
def test_files_that_are_not_there(
    call: Call, gratings: Bundle, tmp_path: Path, command: str, options: list[str], words: list[str]
) -> None:
    more = ["--source", make_world(tmp_path)] if command == "run" else []
    result = call(command, gratings.path, "--state", tmp_path / "s", *more, *options)
    assert result.code == 6
    result.says(*words)
    assert not (tmp_path / "s").exists()


def test_a_budget_with_a_mistake_names_the_key(
    call: Call, gratings: Bundle, tmp_path: Path
) -> None:
    budget = tmp_path / "budget.toml"
    budget.write_text('capacity_j = "1 Wattstunde"\n')
    options = ("--state", tmp_path / "s", "--budget", budget)
    result = call("run", gratings.path, "--source", make_world(tmp_path), *options)
    assert result.code == 6
    result.says("budget.toml", "Wattstunde")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(
    call: Call, gratings: Bundle, tmp_path: Path, number: signal.Signals
) -> None:
    budget = tmp_path / "budget.toml"
    budget.write_text("energy_j_per_day = 100\n")
    source = make_world(tmp_path, clean=30_000)
    program = [sys.executable, "-c", "from sel_edge.cli.main import main; main()", "run"]
    options = ["--state", str(tmp_path / "s"), "--source", source, "--budget", str(budget)]
    with subprocess.Popen(
        [*program, str(gratings.path), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stderr is not None
        assert "segment" in process.stderr.readline()
        process.send_signal(number)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in errors and "Traceback" not in errors
    assert "Nothing was learned" in printed
    frames = sum(tick.n for tick in ledger_of(tmp_path / "s").ticks)
    assert 0 < frames < 30_000
    assert (tmp_path / "s" / "wallet.json").exists()  # saved when the runtime is closed
    assert call("label", tmp_path / "s", "--json").code == 0
