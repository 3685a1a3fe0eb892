"""A runtime that is opened again goes on where it was: network, frames, normal, labels, wallet."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.budget import Budget
from sel_edge.core.errors import BundleError, RunDirectoryError
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter
from sel_edge.core.wallet_file import WALLET_FILE
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.network import bundle_network
from sel_edge.runtime.samples.desk import SAMPLES_FILE, LabelDesk
from sel_edge.runtime.samples.frame import frame_id
from sel_edge.runtime.slots import SLOTS_DIRECTORY, open_slots
from tests.runtime.conftest import NEW_CLASS
from tests.runtime.living import TICK_FRAMES, Lived, accuracy, counting_board, life, stream

SHIFT_OVER = 35
"""Batches of `life` up to the end of the shift."""
DEAF = RuntimeConfig(on=1e6)


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """The directory of a device that learned the shift; `lived` is a copy."""
    folder = tmp_path_factory.mktemp("shifted") / "run"
    Lived(folder, bundle).run(list(life())[:SHIFT_OVER])
    return folder


@pytest.fixture
def lived(shifted: Path, tmp_path: Path, bundle: Bundle) -> Lived:
    shutil.copytree(shifted, tmp_path / "run")
    return Lived(tmp_path / "run", bundle)


@pytest.fixture
def fresh(tmp_path: Path, bundle: Bundle) -> Lived:
    return Lived(tmp_path / "fresh", bundle)


def last_kept(lived: Lived) -> str:
    return [update for update in lived.ledger.updates if update.kept][-1].network_after


def test_it_goes_on_with_the_network_that_was_kept_last(lived: Lived) -> None:
    batches, decided = list(life()), len(lived.ledger.decisions)
    with lived.runtime() as runtime:
        assert runtime.network.hash == last_kept(lived)
        assert accuracy(runtime, tilted=True) > 0.75
        runtime.process(batches[SHIFT_OVER])
    assert lived.ledger.ticks[-1].start == SHIFT_OVER * TICK_FRAMES
    assert all(d.kind != "rollback" for d in lived.ledger.decisions[decided:])


def test_a_network_that_has_answered_a_batch_survives_any_number_of_starts(lived: Lived) -> None:
    learned = last_kept(lived)
    lived.run(stream(20, 4, 0.0))
    for _ in range(3):
        with lived.runtime() as runtime:
            assert runtime.network.hash == learned and runtime.notes == ()


def test_it_knows_what_was_normal_for_its_network(
    tmp_path: Path, bundle: Bundle, bundle_trained_on_anchors: Bundle
) -> None:
    """Also where the first labels said it: a tilt that comes later is not taken for normal."""
    for each in (bundle, bundle_trained_on_anchors):
        lived = Lived(tmp_path / each.path.name, each)
        lived.run(stream(300, 1, 0.3))
        (levels,) = lived.ledger.levels
        assert (levels.network, levels.domain) == (bundle_network(each).hash, 0)
        lived.run(stream(400, 2, 0.3, tilted=True))
        kept = next(update for update in lived.ledger.updates if update.kept)
        assert kept.frame <= 500
        others = [row for row in lived.ledger.levels if row.network == kept.network_after]
        assert bool(others) == each.manifest.anchors_held_out or others[0].frame > kept.frame


def test_labels_of_earlier_sessions_are_there_to_be_learned(fresh: Lived) -> None:
    deaf = Lived(fresh.path, fresh.bundle, DEAF)
    with deaf.runtime() as runtime:
        for batch in stream(200, 2, 0.5, tilted=True):
            runtime.process(batch)
        (before,) = runtime.plans()
    with deaf.runtime() as runtime:
        (after,) = runtime.plans()
        assert replace(after.proposal, gain=0.0) == replace(before.proposal, gain=0.0)
        runtime.carry_out(after)
        assert accuracy(runtime, tilted=True) > 0.7


def test_as_many_labels_are_looked_at_again_as_configured(fresh: Lived) -> None:
    deaf = Lived(fresh.path, fresh.bundle, DEAF)
    deaf.run(stream(200, 2, 0.5, tilted=True))
    few = Lived(fresh.path, fresh.bundle, replace(DEAF, restored_labels=40))
    with few.runtime() as runtime:
        (plan,) = runtime.plans()
        assert plan.proposal.labels == 40


def test_old_labels_are_no_news(fresh: Lived) -> None:
    """They can be learned from, and raise no alarm of their own."""
    Lived(fresh.path, fresh.bundle, DEAF).run(stream(200, 2, 0.5, tilted=True))
    fresh.run(stream(200, 1, 0.3))
    assert fresh.ledger.updates == []


def test_answers_given_while_it_was_off_can_be_learned(fresh: Lived, tmp_path: Path) -> None:
    """Also of a class that nobody had named before, as after `sel-edge label`."""
    deaf = Lived(fresh.path, fresh.bundle, DEAF)
    batches = list(stream(200, 3, 0.0, (NEW_CLASS,)))
    deaf.run(batches)
    folder = tmp_path / "sorted" / NEW_CLASS
    folder.mkdir(parents=True)
    for batch in batches:
        for number, frame in enumerate(batch.frames[:5], batch.start):
            Image.fromarray(frame[..., 0]).save(folder / f"{frame_id(number, frame)}.png")
    with LabelDesk(fresh.path / SAMPLES_FILE) as desk:
        assert len(desk.import_answers(folder.parent).outcomes) == 50
    with deaf.runtime() as runtime:
        (plan,) = runtime.plans()
        assert (plan.proposal.classes, plan.proposal.labels) == ((NEW_CLASS,), 50)
        runtime.carry_out(plan)
        assert accuracy(runtime, (NEW_CLASS,)) > 0.75


def test_labels_of_an_unknown_name_are_counted_across_sessions(fresh: Lived) -> None:
    """Three in each session would never make a class."""
    for seed in range(3, 8):
        batches = list(stream(20, seed, 1.0, (NEW_CLASS,)))
        few = [name if at % 7 == 0 else None for at, name in enumerate(batches[0].labels)]
        fresh.run([replace(batches[0], labels=tuple(few))])
    Lived(fresh.path, fresh.bundle).run(stream(200, 1, 0.0))
    fired = [d for d in fresh.ledger.decisions if d.kind == "fire"]
    assert any(d.classes == (NEW_CLASS,) for d in fired)


def test_labels_prove_nothing_once_they_were_learned_from(fresh: Lived) -> None:
    """Neither in the process that learned from them nor in a later one."""
    deaf = Lived(fresh.path, fresh.bundle, DEAF)
    with deaf.runtime() as runtime:
        for batch in stream(200, 2, 0.5, tilted=True):
            runtime.process(batch)
        assert [d.kind for d in runtime.carry_out(runtime.plans()[0]).decisions] == ["fire", "keep"]
        assert runtime.plans() == []
    with deaf.runtime() as runtime:
        assert runtime.plans() == []


def test_what_was_spent_stays_spent(fresh: Lived) -> None:
    budget = Budget(flops_per_day=10**9)
    limited = Lived(fresh.path, fresh.bundle, budget=budget)
    limited.run(list(life())[:SHIFT_OVER])
    spent = sum(update.executed_flops for update in limited.ledger.updates)
    assert spent > 0 and (fresh.path / WALLET_FILE).is_file()
    with limited.runtime() as runtime:
        for batch in stream(300, 9, 0.0):
            runtime.process(batch)
    left, size = limited.ledger.balances[-1].balances["flops_per_day"]
    assert (left, size) == (size - spent, 10**9)


def test_corrections_of_predictions_outlive_the_process(lived: Lived) -> None:
    """The meter counts readings, of which steps are many more than predicted joules."""
    deaf = Lived(lived.path, lived.bundle, DEAF)
    with deaf.runtime() as runtime:
        (plan,) = runtime.plans()
    naive = plan.proposal.demand.executed_flops * 1e-9
    assert plan.cost.energy_j > 10 * naive


class TestPending:
    """A network that was kept and has not answered a batch yet."""

    @pytest.fixture
    def learned(self, fresh: Lived) -> str:
        """Hash of the network that a device was switched off with."""
        with fresh.runtime() as runtime:
            for batch in stream(400, 2, 0.5, tilted=True):
                if runtime.process(batch).updates:
                    break
            assert runtime._slots.pending
            return runtime.network.hash

    def killed(self, lived: Lived, place: Path) -> Lived:
        """What a start leaves whose process ends before any batch is answered."""
        with lived.runtime():
            shutil.copytree(lived.path, place)
        return Lived(place, lived.bundle)

    def test_starts_without_a_frame_say_nothing_against_it(
        self, fresh: Lived, learned: str
    ) -> None:
        """Such as `sel-edge adapt` with nothing to learn, or a camera that is not ready."""
        for _ in range(3):
            with fresh.runtime() as runtime:
                assert runtime.network.hash == learned and runtime.notes == ()
                runtime.plans()
        fresh.run(stream(20, 4, 0.0))
        assert not any(d.kind == "rollback" for d in fresh.ledger.decisions)

    def test_one_that_ends_the_process_is_given_up(
        self, fresh: Lived, learned: str, tmp_path: Path
    ) -> None:
        first = self.killed(fresh, tmp_path / "killed")
        with first.runtime() as runtime:
            assert runtime.network.hash == bundle_network(fresh.bundle).hash
            assert "given up" in runtime.notes[0]

    def test_so_is_one_that_cannot_answer(
        self, fresh: Lived, learned: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise BundleError("Numbers are not finite.", "Finite ones are expected.", "Go back.")

        with monkeypatch.context() as patch, fresh.runtime() as runtime:
            patch.setattr(runtime._eyes, "look", fail)
            with pytest.raises(BundleError):
                runtime.process(next(stream(20, 4, 0.0)))
        with fresh.runtime() as runtime:
            assert runtime.network.hash == bundle_network(fresh.bundle).hash

    def test_no_frames_prove_nothing(self, fresh: Lived, learned: str) -> None:
        (batch,) = stream(20, 4, 0.0)
        none = replace(batch, frames=batch.frames[:0], labels=(), truths=())
        for _ in range(3):
            with fresh.runtime() as runtime:
                runtime.process(none)
                assert runtime.network.hash == learned and runtime._slots.pending
        with fresh.runtime() as runtime:
            runtime.process(batch)
            assert not runtime._slots.pending


class TestOtherNetworks:
    """Of which the ledger must tell, since it is what reports are made of."""

    @pytest.mark.parametrize("asked", [False, True])
    def test_one_that_was_gone_back_to_by_hand(self, lived: Lived, asked: bool) -> None:
        lived.run(stream(20, 4, 0.0))
        with open_slots(lived.path, lived.bundle) as slots:
            earlier = slots.rollback("bundle").hash
        deaf = Lived(lived.path, lived.bundle, DEAF)
        with deaf.runtime() as runtime:
            assert runtime.network.hash == earlier
            if asked:
                runtime.carry_out(runtime.plans()[0])
            else:
                for batch in stream(40, 5, 0.0):
                    runtime.process(batch)
        told = [d for d in lived.ledger.decisions if d.kind == "rollback"]
        assert [(d.network, d.frame) for d in told] == [(earlier, SHIFT_OVER * TICK_FRAMES + 20)]

    def test_and_what_was_learned_right_then_is_no_going_back(self, lived: Lived) -> None:
        """`sel-edge rollback` and then `sel-edge adapt`, with no frame between them."""
        lived.run(stream(20, 4, 0.0))
        with open_slots(lived.path, lived.bundle) as slots:
            slots.rollback("bundle")
        with Lived(lived.path, lived.bundle, DEAF).runtime() as runtime:
            outcome = runtime.carry_out(runtime.plans()[0])
            assert outcome.decisions[-1].kind == "keep"
            found = runtime.network.hash
        with LedgerWriter(lived.path / LEDGER_FILE) as ledger:
            assert ledger.current_network() == found
        lived.run(stream(20, 5, 0.0))
        assert [d.kind for d in lived.ledger.decisions].count("rollback") == 1

    def test_one_whose_update_was_not_recorded_any_more(self, lived: Lived) -> None:
        """Power failed between the commit and the record."""
        network = bundle_network(lived.bundle)
        with open_slots(lived.path, lived.bundle) as slots:
            rows = {"fc.bias": (network.head.index(["east"]), network.head.bias[:1] + 1)}
            found = slots.current().with_rows(rows)
            slots.commit(found, 700)
        lived.run(stream(20, 4, 0.0))
        assert lived.ledger.decisions[-1].network == found.hash
        with LedgerWriter(lived.path / LEDGER_FILE) as ledger:
            assert ledger.current_network() == found.hash

    def test_an_untouched_device_has_nothing_to_tell(self, fresh: Lived) -> None:
        for seed in range(2):
            fresh.run(stream(20, seed, 0.0))
        assert fresh.ledger.decisions == []

    def test_damaged_updates_are_left_out_and_told_of(self, lived: Lived) -> None:
        lived.run(stream(20, 4, 0.0))
        deltas = list((lived.path / SLOTS_DIRECTORY / "deltas").iterdir())
        assert deltas
        for file in deltas:
            file.write_bytes(b"gone")
        with lived.runtime() as runtime:
            assert runtime.network.hash == bundle_network(lived.bundle).hash
            assert runtime.notes
            runtime.process(next(stream(20, 4, 0.0)))
        assert lived.ledger.decisions[-1].kind == "rollback"


class TestRefusals:
    def test_another_bundles_directory(
        self, lived: Lived, bundle_trained_on_anchors: Bundle
    ) -> None:
        other = Lived(lived.path, bundle_trained_on_anchors)
        with pytest.raises(RunDirectoryError, match="bundle_hash"):
            other.run(stream(20, 1, 0.0))
        lived.run(stream(20, 1, 0.0))

    @pytest.mark.parametrize("file", [WALLET_FILE, SAMPLES_FILE])
    def test_damage_leaves_nothing_open(self, fresh: Lived, file: str) -> None:
        limited = Lived(fresh.path, fresh.bundle, budget=Budget(flops_per_day=10**9))
        limited.run(stream(20, 1, 0.3))
        whole = (fresh.path / file).read_bytes()
        (fresh.path / file).write_bytes(b"damaged beyond all reading" * 400)
        for _ in range(2):  # the second time, no lock is left of the first
            with pytest.raises(RunDirectoryError, match=file):
                limited.run(stream(20, 1, 0.3))
        (fresh.path / file).write_bytes(whole)
        limited.run(stream(20, 1, 0.3))

    def test_two_at_once(self, lived: Lived) -> None:
        with (
            lived.runtime(),
            LedgerWriter(lived.path / "elsewhere" / LEDGER_FILE),
            pytest.raises(RunDirectoryError),
            LedgerWriter(lived.path / LEDGER_FILE) as ledger,
        ):
            Runtime(lived.bundle, ledger, counting_board())
