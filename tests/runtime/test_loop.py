"""The whole runtime on a real network: it notices, learns, keeps what helps, and tells all of it.

The bundle has no rung but the classifier's rows, which need no graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.errors import DataError
from sel_edge.core.ledger import ClassEmbarrassment, Evaluation
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.evidence import MIN_HELD_OUT
from sel_edge.runtime.slots import open_slots
from tests.runtime.conftest import CLASSES, FILTERS, NEW_CLASS, Network, Patterns
from tests.runtime.living import TICK_FRAMES, Lived, accuracy, life, stream


@pytest.fixture
def lived(tmp_path: Path, bundle: Bundle) -> Lived:
    return Lived(tmp_path / "run", bundle)


@pytest.fixture(scope="module")
def whole_life(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Lived:
    lived = Lived(tmp_path_factory.mktemp("lived") / "run", bundle)
    lived.run(life())
    return lived


def test_it_learns_the_shift_and_the_new_class_and_forgets_nothing(lived: Lived) -> None:
    with lived.runtime() as runtime:
        assert accuracy(runtime, tilted=True) < 0.5
        assert accuracy(runtime, (NEW_CLASS,)) == 0
        before = accuracy(runtime)
        for batch in life():
            runtime.process(batch)
        assert accuracy(runtime, tilted=True) > 0.75
        assert accuracy(runtime, (NEW_CLASS,)) > 0.75
        assert accuracy(runtime) > before - 0.06


def test_it_does_nothing_before_anything_changes_and_then_says_why(whole_life: Lived) -> None:
    assert all(decision.frame > 300 for decision in whole_life.ledger.decisions)
    fired = [d for d in whole_life.ledger.decisions if d.kind == "fire"]
    shift = next(d for d in fired if d.frame <= 700)
    assert "all classes: E " in shift.reason
    assert set(shift.classes) <= set(CLASSES)
    new = next(d for d in fired if NEW_CLASS in d.classes)
    assert f"{NEW_CLASS}: " in new.reason
    assert "labels of a class never learned" in new.reason


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("labels", [0.05, 0.5, 1.0])
def test_nothing_fires_while_nothing_changes(lived: Lived, seed: int, labels: float) -> None:
    lived.run(stream(1500, 50 + seed, labels))
    assert lived.ledger.decisions == []


def test_every_fire_is_followed_by_its_outcome_and_its_cost(whole_life: Lived) -> None:
    ledger = whole_life.ledger
    fired = [d for d in ledger.decisions if d.kind == "fire"]
    outcomes = [d for d in ledger.decisions if d.kind in ("keep", "reject")]
    assert len(fired) == len(outcomes) == len(ledger.updates) > 0
    for fire, outcome, update in zip(fired, outcomes, ledger.updates, strict=True):
        assert fire.frame == outcome.frame == update.frame
        assert fire.classes == outcome.classes == update.classes
        assert update.kept == (outcome.kind == "keep")
        assert (update.rung, update.domain, update.frames) == ("head", 0, 0)
        assert update.exact and update.held_out >= MIN_HELD_OUT
        assert 0 < update.executed_flops <= update.predicted_flops
        assert update.energy.joules == update.steps + 1  # one reading after each, one at the end
        assert update.predicted_gain > 0
        assert (update.held_out_after < update.held_out_before) or not update.kept


def test_networks_follow_each_other_without_a_gap_and_lie_in_the_slots(whole_life: Lived) -> None:
    updates = whole_life.ledger.updates
    for earlier, later in pairwise(updates):
        assert later.network_before == earlier.network_after
    with open_slots(whole_life.path, whole_life.bundle) as slots:
        entries, now = slots.history().entries, slots.current().hash
    kept = [update for update in updates if update.kept]
    assert [entry.network for entry in entries] == [update.network_after for update in kept]
    assert [entry.frame for entry in entries] == [update.frame for update in kept]
    assert [entry.bytes for entry in entries] == [update.delta_bytes for update in kept]
    assert now == kept[-1].network_after


def test_ticks_tell_what_was_seen_and_what_it_cost(whole_life: Lived, bundle: Bundle) -> None:
    ticks = whole_life.ledger.ticks
    assert [tick.start for tick in ticks] == list(range(0, 900, TICK_FRAMES))
    assert {tick.segment for tick in ticks} == {"1: clean", "2: tilted", "3: new class"}
    macs = bundle.manifest.model.forward_macs
    for tick in ticks:
        assert sum(n for n, _ in tick.scores.values()) == tick.n == TICK_FRAMES
        assert all(0 <= correct <= n for n, correct in tick.scores.values())
        assert tick.domains == {"0": TICK_FRAMES}
        head = tick.executed_flops / TICK_FRAMES - 2 * macs
        assert head in (2 * 4 * FILTERS, 2 * 5 * FILTERS)  # four classes, and the one learned
        assert tick.watching_flops > 0
    # Answering takes one reading; deciding and writing down the tick before take another, and one
    # more where learning began between them.
    learned = {update.frame for update in whole_life.ledger.updates}
    expected = [1.0, *(2.0 + (tick.start in learned) for tick in ticks[1:])]
    assert [tick.energy.joules for tick in ticks] == expected


def test_ticks_tell_the_embarrassment_that_changed(whole_life: Lived) -> None:
    ticks, before = whole_life.ledger.ticks, dict[str, ClassEmbarrassment]()
    for tick in ticks[:15]:
        before |= tick.embarrassment
    after = before | ticks[15].embarrassment | ticks[16].embarrassment
    assert set(before) == set(CLASSES)
    exact = [(before[name].exact, after[name].exact) for name in CLASSES]
    assert all(early is not None and late is not None for early, late in exact)
    assert sum(late or 0 for _, late in exact) > sum(early or 0 for early, _ in exact)
    assert all(0 < window.labels <= 40 for window in before.values())


def test_frames_like_none_of_the_classes_are_counted(whole_life: Lived) -> None:
    def share(segment: str) -> float:
        ticks = [tick for tick in whole_life.ledger.ticks if tick.segment == segment]
        return sum(tick.novel for tick in ticks[:3]) / sum(tick.n for tick in ticks[:3])

    assert share("1: clean") < 0.15 < share("3: new class")


def test_decisions_never_read_the_truth(whole_life: Lived, lived: Lived) -> None:
    rng = np.random.default_rng(0)

    def lied_to() -> Iterator[FrameBatch]:
        for batch in life():
            yield replace(batch, truths=tuple(rng.permutation(batch.truths)))

    lived.run(lied_to())
    told, lied = whole_life.ledger, lived.ledger
    assert lied.decisions == told.decisions
    assert lied.updates == told.updates
    assert [tick.embarrassment for tick in lied.ticks] == [t.embarrassment for t in told.ticks]
    assert [tick.scores for tick in lied.ticks] != [tick.scores for tick in told.ticks]


def test_answers_do_not_look_at_the_labels_of_their_own_batch(lived: Lived, tmp_path: Path) -> None:
    with_labels = lived.run(stream(20, 5, 1.0))
    without = Lived(tmp_path / "other", lived.bundle).run(stream(20, 5, 0.0))
    assert [r.predictions for r in with_labels] == [r.predictions for r in without]


def test_unlabelled_trouble_asks_for_labels_and_changes_nothing(lived: Lived) -> None:
    lived.run(stream(400, 1, 0.0))
    assert lived.ledger.decisions == []
    lived.run(stream(400, 3, 0.0, (NEW_CLASS,)))
    assert {decision.kind for decision in lived.ledger.decisions} == {"wants_labels"}
    reasons = [decision.reason for decision in lived.ledger.decisions]
    assert any("stand-in E" in reason and "only 0 labels" in reason for reason in reasons)
    assert any("frames like none of the classes" in reason for reason in reasons)
    assert lived.ledger.updates == []


def test_too_few_labels_of_a_new_class_are_not_learned(lived: Lived) -> None:
    batches = list(stream(20, 3, 1.0, (NEW_CLASS,)))
    four = (NEW_CLASS,) * 4 + (None,) * 16
    lived.run(replace(batch, labels=four) for batch in batches)
    assert lived.ledger.updates == []


def test_nothing_is_learned_while_no_gain_could_be_proved(lived: Lived) -> None:
    """All labels of the new class come in one block of frames: near duplicates prove nothing."""
    config = RuntimeConfig(fold_block_frames=1000)
    patient = Lived(lived.path, lived.bundle, config)
    patient.run(stream(200, 3, 1.0, (NEW_CLASS,)))
    assert {decision.kind for decision in patient.ledger.decisions} <= {"wants_labels"}


def test_without_rungs_it_only_watches(lived: Lived) -> None:
    watching = Lived(lived.path, lived.bundle, RuntimeConfig(rungs=()))
    watching.run(life())
    assert {decision.kind for decision in watching.ledger.decisions} <= {"wants_labels"}
    assert watching.ledger.updates == []


def mixed(n: int, seed: int) -> Iterator[FrameBatch]:
    """What the whole life has brought: clean and tilted frames in turn, and the new class."""
    parts = (
        stream(n // 2, seed, 0.3, (*CLASSES, NEW_CLASS), segment="mixed"),
        stream(n // 2, seed + 1, 0.3, tilted=True, segment="mixed"),
    )
    for pair in zip(*parts, strict=True):
        yield from pair


@pytest.mark.parametrize("seed", range(3))
def test_what_cannot_be_learned_is_not_tried_for_ever(lived: Lived, seed: int) -> None:
    """At most five attempts in 2,000 frames, and none once the world is as it was."""
    batches = [*life(), *mixed(2000, 10 * seed + 100), *stream(1000, seed, 0.3)]
    lived.run(iter(batches))
    fired = [d.frame for d in lived.ledger.decisions if d.kind == "fire"]
    assert any(update.kept for update in lived.ledger.updates)
    assert sum(900 < frame <= 2900 for frame in fired) <= 5
    assert sum(frame > 2900 for frame in fired) == 0


def test_with_anchors_from_training_the_first_labels_say_what_is_normal(
    tmp_path: Path, bundle_trained_on_anchors: Bundle, bundle: Bundle
) -> None:
    """A camera that was tilted from the start is normal for a network that cannot know better."""
    tilted = list(stream(600, 8, 0.3, tilted=True))
    naive, wary = (Lived(tmp_path / b.path.name, b) for b in (bundle_trained_on_anchors, bundle))
    naive.run(tilted)
    wary.run(tilted)
    assert naive.ledger.updates == []
    assert wary.ledger.updates[0].frame <= 100


class TestAsking:
    def test_an_evaluation_is_recorded_and_teaches_nothing(self, lived: Lived) -> None:
        with lived.runtime() as runtime:
            network = runtime.network
            found = runtime.evaluate("before", "tilted", stream(100, 4, 1.0, tilted=True))
            assert runtime.network is network
        assert lived.ledger.evaluations == [found]
        assert found == Evaluation("before", "tilted", 100, found.correct)
        assert 0 < found.correct < 60
        assert lived.ledger.ticks == []

    def test_frames_without_a_known_truth_are_not_scored(self, lived: Lived) -> None:
        (batch,) = stream(20, 1, 0.0)
        lived.run([replace(batch, truths=(None,) * 20)])
        assert lived.ledger.ticks[0].scores == {}
        with lived.runtime() as runtime:
            half = replace(batch, truths=(*batch.truths[:10], *(None,) * 10))
            assert runtime.evaluate("after", "some", [half]).n == 10

    def test_answers_are_those_of_the_stream_and_leave_no_trace(self, lived: Lived) -> None:
        (batch,) = stream(20, 1, 0.0)
        with lived.runtime() as runtime:
            asked = runtime.answers(batch.frames)
            assert runtime.answers(batch.frames[:0]) == []
            assert tuple(asked) == runtime.process(batch).predictions
        assert sum(tick.n for tick in lived.ledger.ticks) == 20

    def test_frames_of_another_shape_are_refused_and_not_counted(self, lived: Lived) -> None:
        (batch,) = stream(20, 1, 0.0)
        with lived.runtime() as runtime:
            with pytest.raises(DataError):
                runtime.process(replace(batch, frames=batch.frames[:, 1:]))
            assert runtime.process(batch).tick.start == 0


class TestCarryingOut:
    def test_all_labels_can_be_learned_without_a_trigger(self, lived: Lived) -> None:
        """The alarm is deaf; a person who asks is answered, and it is told in the ledger."""
        deaf = Lived(lived.path, lived.bundle, RuntimeConfig(on=1e6))
        with deaf.runtime() as runtime:
            for batch in stream(200, 2, 0.5, tilted=True):
                runtime.process(batch)
            assert accuracy(runtime, tilted=True) < 0.5
            (plan,) = runtime.plans()
            assert runtime.plans()[0].proposal == plan.proposal
            assert plan.cost.energy_j > 0 and plan.proposal.labels > 50
            outcome = runtime.carry_out(plan)
            assert accuracy(runtime, tilted=True) > 0.7
        assert [decision.kind for decision in outcome.decisions] == ["fire", "keep"]
        assert deaf.ledger.updates == list(outcome.updates)
        assert (deaf.ledger.ticks[-1].n, deaf.ledger.ticks[-1].segment) == (0, "asked for")

    def test_a_person_who_asked_need_not_wait_for_frames(self, lived: Lived) -> None:
        """What was asked for is confirmed at once: two starts without a frame do not undo it."""
        deaf = Lived(lived.path, lived.bundle, RuntimeConfig(on=1e6))
        with deaf.runtime() as runtime:
            for batch in stream(200, 2, 0.5, tilted=True):
                runtime.process(batch)
            runtime.carry_out(runtime.plans()[0])
            now = runtime.network.hash
        for _ in range(3):
            with deaf.runtime() as runtime:
                assert runtime.network.hash == now and runtime.notes == ()

    def test_to_ask_what_could_be_learned_is_not_to_learn_it(self, lived: Lived) -> None:
        deaf = Lived(lived.path, lived.bundle, RuntimeConfig(on=1e6))
        with deaf.runtime() as runtime:
            for batch in stream(200, 2, 0.5, tilted=True):
                runtime.process(batch)
                runtime.plans()
        assert deaf.ledger.updates == []

    def test_what_was_strange_before_is_not_held_against_the_new_network(
        self, lived: Lived
    ) -> None:
        deaf = Lived(lived.path, lived.bundle, RuntimeConfig(on=1e6))
        with deaf.runtime() as runtime:
            for batch in stream(200, 2, 0.5, tilted=True):
                runtime.process(batch)
            assert runtime._asking._strangers.signal().samples > 5
            runtime.carry_out(runtime.plans()[0])
            assert runtime._asking._strangers.signal().samples == 0

    def test_without_labels_nothing_is_planned(self, lived: Lived) -> None:
        with lived.runtime() as runtime:
            for batch in stream(100, 2, 0.0, tilted=True):
                runtime.process(batch)
            assert runtime.plans() == []


def test_the_network_of_these_tests_is_neither_perfect_nor_poor(
    network: Network, patterns: Patterns
) -> None:
    images, names = patterns.draw(1000, seed=7)
    answers = [CLASSES[number] for number in network.logits(images).argmax(axis=1)]
    accuracy = np.mean([a == b for a, b in zip(answers, names, strict=True)])
    assert 0.9 < accuracy < 1.0
