"""From what was noticed to a network that is kept or not: proved, paid for, signed and told."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.delta import open_delta
from sel_edge.bundle.keys import load_public_key, public_path
from sel_edge.core.budget import Budget
from sel_edge.core.errors import StorageError
from sel_edge.core.ledger import Update
from sel_edge.core.wallet_file import WALLET_FILE
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime.board import Board, Heat
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.guard import Tolerance
from sel_edge.runtime.network import bundle_network
from sel_edge.runtime.slots import KEY_FILE, SLOTS_DIRECTORY, open_slots
from sel_edge.runtime.tick_report import TickReport
from tests.runtime import faded
from tests.runtime.conftest import CLASSES
from tests.runtime.living import NOW_S, RATES, CountingMeter, Lived, counting_board, life, stream
from tests.runtime.scripted import Machine, like

STRICT = Tolerance(embarrassment=0.0, accuracy=0.0)
"""Nothing may be lost on the anchors; whatever is learned loses something there."""


def clear_then_dim(labels: float = 0.3) -> Iterator[FrameBatch]:
    yield from stream(200, 1, labels)
    yield from faded.fade(stream(100, 2, labels))


def clear_then_tilted() -> Iterator[FrameBatch]:
    yield from stream(100, 1, 0.3)
    yield from stream(200, 2, 0.3, tilted=True)


@pytest.fixture
def dim(tmp_path: Path) -> Lived:
    """One that can learn statistics, and nothing else."""
    return Lived(tmp_path / "run", faded.bundle(), RuntimeConfig(rungs=("norm",)))


@pytest.fixture
def tilted(tmp_path: Path, bundle: Bundle) -> Lived:
    return Lived(tmp_path / "run", bundle)


def files(lived: Lived) -> dict[str, bytes]:
    """What lies in the slots."""
    folder = lived.path / SLOTS_DIRECTORY
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def kinds(lived: Lived) -> list[str]:
    decisions = lived.ledger.decisions
    return [decision.kind for decision in decisions if decision.kind != "wants_labels"]


class TestKept:
    @pytest.mark.parametrize("rung", ["norm", "head"])
    def test_an_update_is_a_signed_delta_that_the_ledger_names(
        self, rung: str, dim: Lived, tilted: Lived
    ) -> None:
        lived, batches = {
            "norm": (dim, clear_then_dim()),
            "head": (tilted, clear_then_tilted()),
        }[rung]
        lived.run(batches)
        row = lived.ledger.updates[0]
        assert (row.rung, row.kept) == (rung, True)
        with open_slots(lived.path, lived.bundle) as slots:
            entry = slots.history().entries[0]
        content = (lived.path / SLOTS_DIRECTORY / "deltas" / f"{entry.delta}.delta").read_bytes()
        key = load_public_key(public_path(lived.path / KEY_FILE))
        delta = open_delta(content, {key})
        assert row.network_before == delta.parent == bundle_network(lived.bundle).hash
        assert row.network_after == delta.new == entry.network
        assert (row.delta_bytes, row.frame) == (len(content), delta.frame)

    def test_new_statistics_help_their_frames_and_leave_the_others_alone(self, dim: Lived) -> None:
        images, truths = faded.bundle().anchors().frames, faded.bundle().anchors().labels
        with dim.runtime() as runtime:

            def right(frames: Any) -> float:
                names = [CLASSES[label] for label in truths]
                answers = runtime.answers(frames)
                return float(np.mean([a == b for a, b in zip(answers, names, strict=True)]))

            before = right(images), right(faded.faded(images))
            for batch in clear_then_dim():
                runtime.process(batch)
            assert list(runtime.network.domains) == [1]
            assert right(images) == before[0] and right(faded.faded(images)) > before[1] + 0.3
        row = dim.ledger.updates[0]
        assert (row.domain, row.classes, row.frames, row.labels) == (1, (), faded.FRAMES, 0)
        assert row.anchors_before is row.anchors_after is None
        decision = next(d for d in dim.ledger.decisions if d.kind == "keep")
        assert decision.reason.startswith("norm: E on ")

    def test_without_any_label_statistics_are_judged_by_the_stand_in(self, dim: Lived) -> None:
        dim.run(clear_then_dim(labels=0.0))
        row = dim.ledger.updates[0]
        assert (row.kept, row.exact) == (True, False) and row.held_out == faded.FRAMES
        assert dim.ledger.ticks[-1].domains == {"1": 20}

    def test_a_domain_that_was_learned_has_labels_of_its_own(self, tmp_path: Path) -> None:
        """So the classifier's rows that are learned for it change no other domain."""
        both = Lived(tmp_path / "run", faded.bundle())
        with both.runtime() as runtime:
            for batch in clear_then_dim(1.0):
                runtime.process(batch)
            for batch in faded.fade(stream(200, 4, 1.0, tilted=True)):
                runtime.process(batch)
            network = runtime.network
        heads = [row for row in both.ledger.updates if row.rung == "head" and row.kept]
        assert heads and {row.domain for row in heads} == {1}
        assert network.head_in(0).hash == bundle_network(faded.bundle()).head.hash
        assert network.head_in(1).hash != network.head_in(0).hash

    def test_rows_wait_as_long_as_a_domain_may_be_unknown(self, tmp_path: Path) -> None:
        """Dim frames make alarms of labels too; the statistics come first, and settle it."""
        both = Lived(tmp_path / "run", faded.bundle())
        both.run(clear_then_dim(1.0))
        assert [row.rung for row in both.ledger.updates[:1]] == ["norm"]
        only_rows = Lived(tmp_path / "rows", faded.bundle(), RuntimeConfig(rungs=("head",)))
        only_rows.run(clear_then_dim(1.0))
        assert {row.rung for row in only_rows.ledger.updates} == {"head"}

    def test_decisions_never_read_the_truth(self, dim: Lived, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        lied_to = Lived(tmp_path / "lied", dim.bundle, dim.config)
        dim.run(clear_then_dim())
        lied_to.run(replace(b, truths=tuple(rng.permutation(b.truths))) for b in clear_then_dim())
        assert dim.ledger.updates
        assert lied_to.ledger.decisions == dim.ledger.decisions
        assert lied_to.ledger.updates == dim.ledger.updates


class TestPlans:
    """What could be learned now, whatever the triggers say."""

    def test_of_rungs_that_are_not_climbed_there_are_none(self, tmp_path: Path) -> None:
        planned = {}
        for rungs in ((), ("norm",), ("head",), ("norm", "head")):
            deaf = RuntimeConfig(rungs=rungs, on=1e6)
            lived = Lived(tmp_path / "-".join(("run", *rungs)), faded.bundle(), deaf)
            with lived.runtime() as runtime:
                for batch in clear_then_tilted():
                    runtime.process(batch)
                planned[rungs] = {plan.proposal.rung for plan in runtime.plans()}
        assert planned == {
            (): set(),
            ("norm",): set(),
            ("head",): {"head"},
            ("norm", "head"): {"head"},
        }

    def test_statistics_that_had_to_wait_are_among_them(self, dim: Lived) -> None:
        warm, celsius = Lived(dim.path, dim.bundle, dim.config, Budget(celsius_max=70.0)), [80.0]
        board = replace(counting_board(), heat=lambda: Heat(celsius[0]))
        with warm.runtime(board) as runtime:
            for batch in clear_then_dim():
                runtime.process(batch)
            assert kinds(warm) == ["defer"]
            (plan,) = runtime.plans()
            proposal = plan.proposal
            assert (proposal.rung, proposal.domain, proposal.frames) == ("norm", 1, faded.FRAMES)
            assert runtime.carry_out(plan).decisions[-1].kind == "defer"
            celsius[0] = 20.0
            outcome = runtime.carry_out(runtime.plans()[0])
            assert [decision.kind for decision in outcome.decisions] == ["fire", "keep"]
            assert list(runtime.network.domains) == [1] and runtime.plans() == []


class TestRejected:
    def test_the_network_is_the_same_bit_for_bit(self, tilted: Lived) -> None:
        strict = Lived(tilted.path, tilted.bundle, RuntimeConfig(tolerance=STRICT))
        with strict.runtime() as runtime:
            network, before = runtime.network, files(strict)
            for batch in clear_then_tilted():
                runtime.process(batch)
            assert runtime.network is network
            assert files(strict) == before
        assert kinds(strict)[:2] == ["fire", "reject"]
        row = strict.ledger.updates[0]
        assert (row.kept, row.delta_bytes) == (False, 0)
        assert row.network_before == row.network_after == network.hash
        assert row.held_out_after is not None and row.anchors_after is not None

    def test_statistics_that_do_not_help_are_not_kept(self, dim: Lived) -> None:
        """Labels say that the classes have changed places, whatever the stand-in says."""

        def lies() -> Iterator[FrameBatch]:
            turned = dict(zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True))
            yield from stream(100, 1, 0.3)
            for batch in faded.fade(stream(100, 2, 1.0)):
                yield replace(batch, labels=tuple(turned[str(name)] for name in batch.labels))

        with dim.runtime() as runtime:
            network = runtime.network
            for batch in lies():
                runtime.process(batch)
            assert runtime.network is network
        assert kinds(dim)[:2] == ["fire", "reject"]


class TestStorage:
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
    def test_an_update_that_cannot_be_stored_leaves_the_old_network_in_use(
        self, tilted: Lived, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        batches, replace_file = clear_then_tilted(), os.replace

        def fail(source: Any, target: Any, **more: Any) -> None:
            if SLOTS_DIRECTORY in Path(target).parts:
                raise OSError(code, os.strerror(code))
            replace_file(source, target, **more)

        with tilted.runtime() as runtime:
            network, before = runtime.network, files(tilted)
            with monkeypatch.context() as patch:
                patch.setattr(os, "replace", fail)
                with pytest.raises(StorageError):
                    for batch in batches:
                        runtime.process(batch)
            assert runtime.network is network and files(tilted) == before
            assert tilted.ledger.updates == []
            for batch in batches:  # the disk has recovered
                runtime.process(batch)
            assert runtime.network is not network
        row = tilted.ledger.updates[0]
        assert (row.network_before, row.kept) == (network.hash, True)

    def test_what_was_spent_on_it_stays_spent(
        self, tilted: Lived, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limited = Lived(tilted.path, tilted.bundle, budget=Budget(flops_per_day=10**9))
        with limited.runtime() as runtime:
            monkeypatch.setattr(runtime._slots, "commit", _fail)
            with pytest.raises(StorageError):
                for batch in clear_then_tilted():
                    runtime.process(batch)
            balance = runtime.balances()["flops_per_day"]
            assert balance.left < 10**9 and balance.reserved == 0


def _fail(*_: object) -> None:
    raise StorageError("The disk is full.", "Room is expected.", "Make some.")


class TestBudget:
    def limited(self, tilted: Lived, budget: Budget) -> Lived:
        return Lived(tilted.path, tilted.bundle, budget=budget)

    def test_what_cannot_be_paid_for_waits_and_says_for_what_and_how_long(
        self, tilted: Lived
    ) -> None:
        limited = self.limited(tilted, Budget(flops_per_day=1000))
        limited.run(clear_then_tilted())
        assert kinds(limited) == ["defer"]  # told once, not at every tick
        (deferred,) = [d for d in limited.ledger.decisions if d.kind == "defer"]
        assert deferred.reason.startswith("head: flops_per_day: ")
        assert "1 kFLOP free" in deferred.reason and "never holds that much" in deferred.reason
        assert limited.ledger.updates == []

    def test_it_is_done_once_it_can_be_paid_for(self, tilted: Lived) -> None:
        limited = self.limited(tilted, Budget(capacity_j=1e6, initial_j=0.0))
        limited.run(clear_then_tilted())
        assert kinds(limited) == ["defer"] and limited.ledger.updates == []
        (limited.path / WALLET_FILE).unlink()
        charged = self.limited(tilted, Budget(capacity_j=1e6))
        with charged.runtime(replace(Machine().board, rates=RATES)) as runtime:
            for batch in stream(200, 3, 0.3, tilted=True):
                runtime.process(batch)
        assert kinds(charged)[:3] == ["defer", "fire", "keep"]

    def test_a_stopped_update_leaves_no_trace_but_its_cost(self, tilted: Lived) -> None:
        """The meter tells of a thousand times the joules that were predicted."""
        machine = Machine(like((10.0, 1.0)))
        board = replace(machine.board, rates=replace(RATES, j_per_flop=1e-6))
        limited = self.limited(tilted, Budget(energy_j_per_day=1e6))
        with limited.runtime(board) as runtime:
            network, before = runtime.network, files(limited)
            reports: list[TickReport] = []
            for batch in clear_then_tilted():
                reports.append(runtime.process(batch))
                if reports[-1].updates:
                    break
            assert runtime.network is network and files(limited) == before
            left = runtime.balances()["energy_j_per_day"].left
        (row,) = limited.ledger.updates
        assert row.stopped and not row.kept and row.exact is False
        assert (row.held_out, row.held_out_before, row.anchors_after) == (0, None, None)
        assert row.network_before == row.network_after == network.hash
        assert kinds(limited) == ["fire", "stop"]
        stop = limited.ledger.decisions[-1]
        assert f"stopped after {row.steps} steps and undone: energy_j_per_day" in stop.reason
        assert left == pytest.approx(1e6 - row.energy.joules, abs=1e-3)
        assert row.predicted_energy_j < row.energy.joules  # of the steps that were taken

    def test_the_next_prediction_has_learned_from_it(self, tilted: Lived) -> None:
        board = counting_board()
        wary = replace(board, rates=replace(RATES, j_per_flop=1e-12))
        limited = self.limited(tilted, Budget(energy_j_per_day=1e9))
        with limited.runtime(wary) as runtime:
            for batch in life():
                runtime.process(batch)
        rows = limited.ledger.updates
        assert rows[0].stopped
        ratios = [row.predicted_energy_j / row.energy.joules for row in rows]
        assert ratios == sorted(ratios) and len(ratios) > 2

    def test_a_kept_update_pays_for_its_files(self, tilted: Lived) -> None:
        """Its delta, a slot, and the slot confirmed."""
        limited = self.limited(tilted, Budget(flash_writes_per_day=10))
        limited.run(clear_then_tilted())
        kept = sum(row.kept for row in limited.ledger.updates)
        balances = limited.ledger.balances[-1]
        assert kept and balances.balances["flash_writes_per_day"] == (10 - 3 * kept, 10)
        assert (balances.utc_s, balances.throttled) == (NOW_S, False)

    def test_balances_follow_every_update(self, tilted: Lived) -> None:
        limited = self.limited(tilted, Budget(flops_per_day=10**9))
        limited.run(life())
        ledger = limited.ledger
        told = {row.frame: row.balances["flops_per_day"][0] for row in ledger.balances}
        spent = 0
        for row in ledger.updates:
            spent += row.executed_flops
            assert told[row.frame] == 10**9 - spent

    def test_an_update_takes_no_more_operations_than_were_predicted(self, tilted: Lived) -> None:
        tilted.run(life())
        rows: list[Update] = tilted.ledger.updates
        assert rows and all(row.executed_flops <= row.predicted_flops for row in rows)


def test_statistics_take_no_more_operations_than_were_predicted(dim: Lived) -> None:
    dim.run(clear_then_dim())
    rows: list[Update] = dim.ledger.updates
    assert rows and all(row.executed_flops <= row.predicted_flops for row in rows)


def test_a_board_without_limits_writes_no_wallet(tilted: Lived) -> None:
    tilted.run(clear_then_tilted())
    assert not (tilted.path / WALLET_FILE).exists() and tilted.ledger.balances == []


def test_inference_draws_on_the_battery_and_on_nothing_else(tilted: Lived) -> None:
    budget = Budget(capacity_j=1000.0, energy_j_per_day=1000.0)
    limited = Lived(tilted.path, tilted.bundle, budget=budget)
    with limited.runtime(Board(CountingMeter(), RATES, clock=lambda: NOW_S)) as runtime:
        for batch in stream(100, 1, 0.0):
            runtime.process(batch)
        left = {name: one.left for name, one in runtime.balances().items()}
    assert left["energy_j_per_day"] == 1000.0
    assert 900.0 < left["battery"] < 1000.0
