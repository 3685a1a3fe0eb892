"""What the runtime does beside answering and learning is paid for as well, and once."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.budget import Budget
from sel_edge.core.errors import StorageError
from sel_edge.core.wallet_file import WALLET_FILE, WalletFile
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.planner import COMMIT_WRITES
from sel_edge.runtime.probe import mendable_flops
from sel_edge.runtime.samples.desk import SAMPLES_FILE, LabelDesk
from tests.runtime.conftest import CLASSES, FILTERS
from tests.runtime.living import RATES, Lived, counting_board, life, stream
from tests.runtime.scripted import NOW_S, Machine, like

DEAF = RuntimeConfig(on=1e6)
BATTERY = Budget(capacity_j=1000.0)
PLANNING_J, PLANNING_S = 5.0, 2.0


@pytest.fixture
def lived(tmp_path: Path, bundle: Bundle) -> Lived:
    return Lived(tmp_path / "run", bundle, budget=BATTERY)


def with_dear_plans(runtime: Runtime, machine: Machine) -> None:
    """From now on it takes joules and seconds to choose what to do."""
    planner = runtime._adaptation._planner
    choose = planner.choose

    def dear(*arguments: object) -> object:
        machine.joules += PLANNING_J
        machine.now_s += PLANNING_S
        return choose(*arguments)  # type: ignore[arg-type]

    vars(planner)["choose"] = dear


def test_planning_is_told_by_the_next_tick_and_drawn_from_the_battery(lived: Lived) -> None:
    machine = Machine()
    with lived.runtime(replace(machine.board, rates=RATES)) as runtime:
        with_dear_plans(runtime, machine)
        for batch in stream(60, 1, 0.0):
            runtime.process(batch)
    told = [(tick.energy.joules, tick.seconds) for tick in lived.ledger.ticks]
    assert told == [(0.0, 0.0), (PLANNING_J, PLANNING_S), (PLANNING_J, PLANNING_S)]
    left = WalletFile(lived.path / WALLET_FILE, BATTERY, NOW_S).wallet.balances()["battery"].left
    assert left == 1000.0 - 3 * PLANNING_J  # also of the last, which no tick tells


def test_answers_that_cannot_be_recorded_are_told_by_the_next_tick(lived: Lived) -> None:
    first, second, third = stream(60, 1, 0.0)
    with lived.runtime(counting_board()) as runtime:
        runtime.process(first)
        runtime.process(second)
        runtime.say(third.frames)
        runtime.process(third)
    _, usual, dearer = (tick.energy.joules for tick in lived.ledger.ticks)
    assert dearer == usual + 1.0  # one reading of the meter more, and that was work


def test_what_is_told_and_learned_is_all_that_was_taken(lived: Lived) -> None:
    machine = Machine(like((2.0, 1.0)))
    limited = Lived(lived.path, lived.bundle, budget=replace(BATTERY, capacity_j=1e6))
    with limited.runtime(replace(machine.board, rates=RATES)) as runtime:
        with_dear_plans(runtime, machine)
        for batch in life():
            runtime.process(batch)
    ledger = limited.ledger
    assert any(update.kept for update in ledger.updates)
    told = sum(tick.energy.joules for tick in ledger.ticks)
    learned = sum(update.energy.joules for update in ledger.updates)
    assert told + learned == machine.joules - PLANNING_J
    seconds = sum(tick.seconds for tick in ledger.ticks)
    seconds += sum(update.seconds for update in ledger.updates)
    assert seconds == machine.now_s - NOW_S - PLANNING_S
    path = limited.path / WALLET_FILE
    left = WalletFile(path, limited.budget or BATTERY, machine.now_s).wallet.balances()["battery"]
    assert left.left == 1e6 - machine.joules


def test_what_could_not_be_stored_is_told_by_the_next_tick(
    lived: Lived, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no record of its own; the wallet has paid for it. It is tried again after a pause."""

    def fail(*_: object) -> None:
        raise StorageError("The disk is full.", "Room is expected.", "Make some.")

    machine, budget = Machine(like((2.0, 1.0))), Budget(capacity_j=1e9, flops_per_day=10**9)
    limited = Lived(lived.path, lived.bundle, budget=budget)
    with limited.runtime(replace(machine.board, rates=replace(RATES, j_per_flop=1e-3))) as runtime:
        with monkeypatch.context() as patch:
            patch.setattr(runtime._slots, "commit", fail)
            with pytest.raises(StorageError):
                for batch in stream(200, 2, 0.5, tilted=True):
                    runtime.process(batch)
        recorded = len(limited.ledger.ticks)
        for batch in stream(RuntimeConfig().cool_down_frames + 20, 3, 0.0):
            runtime.process(batch)
        balances = runtime.balances()
    (update,) = limited.ledger.updates  # at last
    ticks = limited.ledger.ticks
    failed, after = ticks[recorded - 1 : recorded + 1]
    assert sum(one.energy.joules for one in (*ticks, update)) == machine.joules
    assert sum(one.seconds for one in (*ticks, update)) == machine.now_s - NOW_S
    assert balances["battery"].left == budget.capacity_j - machine.joules
    vain = 10**9 - balances["flops_per_day"].left - update.executed_flops
    assert 0 < vain < after.watching_flops - failed.watching_flops < 1.1 * vain


class TestLookingAgain:
    """The meter counts its own readings: one joule for each look outside a tick."""

    @pytest.fixture
    def labelled(self, tmp_path: Path, bundle: Bundle) -> Lived:
        deaf = Lived(tmp_path / "run", bundle, DEAF)
        deaf.run(stream(40, 2, 0.5, tilted=True))
        return deaf

    def test_at_frames_of_earlier_sessions_is_paid_for_by_the_first_tick(
        self, labelled: Lived
    ) -> None:
        with LabelDesk(labelled.path / SAMPLES_FILE) as desk:
            labels = sum(desk.counts().labels.values())
        labelled.run(islice(stream(60, 3, 0.0), 2))
        first, second = labelled.ledger.ticks[-2:]
        assert first.energy.joules == 1 + labels > 10
        assert second.energy.joules == 2

    def test_also_where_that_tick_has_no_frames(self, labelled: Lived) -> None:
        machine = Machine(like((2.0, 1.0)))
        with labelled.runtime(replace(machine.board, rates=RATES)) as runtime:
            looked = runtime._looked_flops
            for batch in stream(160, 3, 0.5, tilted=True):
                runtime.process(batch)
        assert labelled.ledger.ticks[2].watching_flops > looked > 0
        with labelled.runtime(replace(machine.board, rates=RATES)) as runtime:
            looked, (plan,) = runtime._looked_flops, runtime.plans()
            runtime.carry_out(plan)
            runtime.process(next(stream(20, 4, 0.0)))
        asked, after = labelled.ledger.ticks[-2:]
        assert asked.n == 0 and asked.watching_flops == looked + plan.update.planning_flops
        assert asked.energy.joules == 2.0  # of what was executed, which it tells
        assert after.watching_flops < looked

    def test_at_a_frame_whose_label_came_late_by_the_next(self, labelled: Lived) -> None:
        forgetful = Lived(labelled.path, labelled.bundle, replace(DEAF, remembered_frames=20))
        batches = list(stream(80, 3, 0.0))
        with forgetful.runtime() as runtime:
            for batch in batches[:2]:
                runtime.process(batch)
            assert runtime.label(40, "east") and runtime.label(41, "north")
            runtime.process(batches[2])
            runtime.process(batches[3])
        *_, late, usual = forgetful.ledger.ticks
        assert (late.energy.joules, usual.energy.joules) == (4.0, 2.0)


def test_operations_of_planning_are_watching(tmp_path: Path, bundle: Bundle) -> None:
    """The look at which mistakes could be mended, each time that plans are made."""
    deaf = Lived(tmp_path / "run", bundle, DEAF)
    batches = list(stream(240, 2, 0.5, tilted=True))
    with deaf.runtime() as runtime:
        for batch in batches[:9]:
            runtime.process(batch)
        plans = [runtime.plans()[0] for _ in range(3)]
        for batch in batches[9:11]:
            runtime.process(batch)
    usual, planned, after = (tick.watching_flops for tick in deaf.ledger.ticks[-3:])
    labels = plans[0].proposal.labels
    assert usual == after
    assert planned - usual == 3 * mendable_flops(labels, FILTERS, len(CLASSES), len(CLASSES))


def test_files_are_paid_for_as_they_are_written(tmp_path: Path, bundle: Bundle) -> None:
    """Also where long chains of updates are folded."""
    budget = Budget(flash_writes_per_day=100)
    limited = Lived(tmp_path / "run", bundle, budget=budget)
    with limited.runtime() as runtime:
        runtime._slots._max_updates = 2
        for batch in life():
            runtime.process(batch)
        written = runtime._slots.flash_writes + runtime._slots.pending
        left = runtime.balances()["flash_writes_per_day"].left
    kept = sum(update.kept for update in limited.ledger.updates)
    assert kept > 2 and 3 * kept < written <= COMMIT_WRITES * kept
    assert left == 100 - written
