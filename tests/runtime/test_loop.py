"""The whole runtime on a real network: it notices, learns, keeps what helps, and remembers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.ledger import (
    LEDGER_FILE,
    ClassEmbarrassment,
    Evaluation,
    Ledger,
    LedgerWriter,
    read_ledger,
)
from sel_edge.core.measurement import Origin
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.evidence import MIN_HELD_OUT
from sel_edge.runtime.head import Head
from sel_edge.runtime.loop import HEADS_DIRECTORY, Runtime, TickReport
from tests.runtime.conftest import CLASSES, FILTERS, NEW_CLASS, Network, Patterns

TICK_FRAMES = 20


class CountingMeter:
    """One joule more at every reading."""

    origin: Origin = "estimated"
    name = "counter"

    def __init__(self) -> None:
        self._joules = count()

    def read_j(self) -> float:
        return float(next(self._joules))


def stream(
    n: int,
    seed: int,
    labels: float,
    names: tuple[str, ...] = CLASSES,
    tilted: bool = False,
    segment: str = "1",
) -> Iterator[FrameBatch]:
    """Frames of which a share carries its label."""
    images, truths = Patterns().draw(n, seed, names, tilted)
    given = np.random.default_rng(seed).random(n) < labels
    for start in range(0, n, TICK_FRAMES):
        part = slice(start, start + TICK_FRAMES)
        shown = tuple(
            name if show else None for name, show in zip(truths[part], given[part], strict=True)
        )
        yield FrameBatch(start, images[part], shown, tuple(truths[part]), segment)


def life(labels: float = 0.3) -> Iterator[FrameBatch]:
    """Nothing happens, then the camera is tilted, then a new class appears."""
    yield from stream(300, 1, labels, segment="1: clean")
    yield from stream(400, 2, labels, tilted=True, segment="2: tilted")
    yield from stream(200, 3, labels, (NEW_CLASS,), segment="3: new class")


class Lived:
    """A runtime's directory with shortcuts."""

    def __init__(self, path: Path, bundle: Bundle, config: RuntimeConfig | None = None) -> None:
        self.path, self.bundle, self.config = path, bundle, config

    def run(self, batches: Iterator[FrameBatch]) -> list[TickReport]:
        with LedgerWriter(self.path / LEDGER_FILE) as ledger:
            runtime = Runtime(self.bundle, ledger, CountingMeter(), self.config, threads=1)
            return [runtime.process(batch) for batch in batches]

    def accuracy(self, names: tuple[str, ...] = CLASSES, tilted: bool = False) -> float:
        with LedgerWriter(self.path / LEDGER_FILE) as ledger:
            runtime = Runtime(self.bundle, ledger, CountingMeter(), self.config, threads=1)
            batches = stream(200, 99, 0.0, names, tilted)
            found = runtime.evaluate("now", "some", batches)
            assert found.n == 200
            return found.correct / found.n

    @property
    def ledger(self) -> Ledger:
        return read_ledger(self.path / LEDGER_FILE)


@pytest.fixture
def lived(tmp_path: Path, bundle: Bundle) -> Lived:
    return Lived(tmp_path / "run", bundle)


@pytest.fixture(scope="module")
def whole_life(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Lived:
    lived = Lived(tmp_path_factory.mktemp("lived") / "run", bundle)
    lived.run(life())
    return lived


def test_it_learns_the_shift_and_the_new_class_and_forgets_nothing(
    whole_life: Lived, tmp_path: Path, bundle: Bundle
) -> None:
    untouched = Lived(tmp_path / "untouched", bundle)
    assert untouched.accuracy(tilted=True) < 0.5
    assert untouched.accuracy((NEW_CLASS,)) == 0
    assert whole_life.accuracy(tilted=True) > 0.75
    assert whole_life.accuracy((NEW_CLASS,)) > 0.85
    assert whole_life.accuracy() > untouched.accuracy() - 0.06


def test_it_does_nothing_before_anything_changes_and_then_says_why(whole_life: Lived) -> None:
    fired = [d for d in whole_life.ledger.decisions if d.kind == "fire"]
    assert all(decision.frame > 300 for decision in fired)
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
        assert update.kept == (outcome.kind == "keep")
        assert update.held_out > 0
        assert update.executed_flops > 0
        assert update.energy.joules == 1.0
        assert update.held_out >= MIN_HELD_OUT
        if update.kept:
            assert update.held_out_after < update.held_out_before
            assert update.head_after != update.head_before
            assert update.delta_bytes == len(update.classes) * (FILTERS + 1) * 4
        else:
            assert (update.head_after, update.delta_bytes) == (update.head_before, 0)


def test_heads_follow_each_other_without_a_gap_and_lie_on_disk(whole_life: Lived) -> None:
    updates = whole_life.ledger.updates
    for earlier, later in pairwise(updates):
        assert later.head_before == earlier.head_after
    heads = {file.stem for file in (whole_life.path / HEADS_DIRECTORY).iterdir()}
    assert heads == {update.head_after for update in updates if update.kept}


def test_ticks_tell_what_was_seen_and_what_it_cost(whole_life: Lived, bundle: Bundle) -> None:
    ticks = whole_life.ledger.ticks
    assert [tick.start for tick in ticks] == list(range(0, 900, TICK_FRAMES))
    assert {tick.segment for tick in ticks} == {"1: clean", "2: tilted", "3: new class"}
    macs = bundle.manifest.model.forward_macs
    for tick in ticks:
        assert sum(n for n, _ in tick.scores.values()) == tick.n == TICK_FRAMES
        assert all(0 <= correct <= n for n, correct in tick.scores.values())
        head = tick.executed_flops / TICK_FRAMES - 2 * macs
        assert head in (2 * 4 * FILTERS, 2 * 5 * FILTERS)  # four classes, and the one learned
    # Answering and deciding take one reading, writing down the tick before takes another.
    assert [tick.energy.joules for tick in ticks] == [1.0] + [2.0] * 44
    before: dict[str, ClassEmbarrassment] = {}
    for tick in ticks[:15]:
        before |= tick.embarrassment
    after = before | ticks[15].embarrassment | ticks[16].embarrassment
    assert set(before) == set(CLASSES)
    exact = [(before[name].exact, after[name].exact) for name in CLASSES]
    assert all(early is not None and late is not None for early, late in exact)
    assert sum(late or 0 for _, late in exact) > sum(early or 0 for early, _ in exact)
    assert all(0 < window.labels <= 40 for window in before.values())


def test_decisions_never_read_the_truth(whole_life: Lived, lived: Lived) -> None:
    def lied_to() -> Iterator[FrameBatch]:
        for batch in life():
            yield replace(batch, truths=(CLASSES[0],) * len(batch.truths))

    lived.run(lied_to())
    assert lived.ledger.decisions == whole_life.ledger.decisions
    assert [u.head_after for u in lived.ledger.updates] == [
        u.head_after for u in whole_life.ledger.updates
    ]


def test_answers_do_not_look_at_the_labels_of_their_own_batch(lived: Lived, tmp_path: Path) -> None:
    with_labels = lived.run(stream(20, 5, 1.0))
    without = Lived(tmp_path / "other", lived.bundle).run(stream(20, 5, 0.0))
    assert [r.predictions for r in with_labels] == [r.predictions for r in without]


def test_unlabelled_trouble_asks_for_labels_and_changes_nothing(lived: Lived) -> None:
    lived.run(stream(400, 1, 0.0))
    assert lived.ledger.decisions == []
    lived.run(stream(400, 3, 0.0, (NEW_CLASS,)))
    kinds = {decision.kind for decision in lived.ledger.decisions}
    assert kinds == {"wants_labels"}
    first = lived.ledger.decisions[0]
    assert "stand-in E" in first.reason
    assert "only 0 labels" in first.reason
    assert lived.ledger.updates == []


def test_too_few_labels_of_a_new_class_are_not_learned(lived: Lived) -> None:
    batches = list(stream(20, 3, 1.0, (NEW_CLASS,)))
    four = (NEW_CLASS,) * 4 + (None,) * 16
    lived.run(replace(batch, labels=four) for batch in batches)
    assert lived.ledger.updates == []


def test_nothing_is_learned_while_no_gain_could_be_proved(lived: Lived) -> None:
    """All labels of the new class come in one block of frames: near duplicates prove nothing."""
    config = RuntimeConfig(held_out_block_frames=1000)
    patient = Lived(lived.path, lived.bundle, config)
    patient.run(stream(200, 3, 1.0, (NEW_CLASS,)))
    assert patient.ledger.decisions == []


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


def test_names_that_nobody_learns_are_forgotten(lived: Lived) -> None:
    config = RuntimeConfig(unknown_classes=3)
    with LedgerWriter(lived.path / LEDGER_FILE) as ledger:
        runtime = Runtime(lived.bundle, ledger, CountingMeter(), config)
        for batch in stream(100, 3, 1.0, (NEW_CLASS,)):
            names = tuple(f"typo {batch.start + n}" for n in range(len(batch.labels)))
            runtime.process(replace(batch, labels=names))
        learner = runtime._learner
        assert list(learner._unknown) == ["typo 97", "typo 98", "typo 99"]
        held = [learner._memory.training(names), learner._memory.held_out(names)]
        assert sum(map(len, held)) == 3


def test_a_restart_goes_on_with_the_head_that_was_kept_last(
    whole_life: Lived, lived: Lived
) -> None:
    batches = list(life())
    lived.run(iter(batches[:35]))  # up to the end of the shift
    learned = [update for update in lived.ledger.updates if update.kept][-1].head_after
    before = lived.accuracy(tilted=True)
    assert before > 0.75
    with LedgerWriter(lived.path / LEDGER_FILE) as ledger:
        runtime = Runtime(lived.bundle, ledger, CountingMeter())
        assert runtime.head.hash == learned
        runtime.process(batches[35])
    assert lived.ledger.ticks[-1].start == 35 * TICK_FRAMES


def test_a_restart_knows_what_was_normal_for_its_head(
    tmp_path: Path, bundle: Bundle, bundle_trained_on_anchors: Bundle
) -> None:
    """Also where the first labels said it: a tilt that comes later is not taken for normal."""
    for each in (bundle, bundle_trained_on_anchors):
        lived = Lived(tmp_path / each.path.name, each)
        lived.run(stream(300, 1, 0.3))
        (levels,) = lived.ledger.levels
        assert levels.head == Head(*each.head(), CLASSES).hash
        lived.run(stream(400, 2, 0.3, tilted=True))
        kept = next(update for update in lived.ledger.updates if update.kept)
        assert kept.frame <= 500
        others = [row for row in lived.ledger.levels if row.head == kept.head_after]
        assert bool(others) == each.manifest.anchors_held_out or others[0].frame > kept.frame


def test_a_ledger_of_another_bundle_is_refused(
    lived: Lived, bundle_trained_on_anchors: Bundle
) -> None:
    lived.run(stream(20, 1, 0.0))
    other = Lived(lived.path, bundle_trained_on_anchors)
    with pytest.raises(RunDirectoryError, match="bundle_hash"):
        other.run(stream(20, 1, 0.0))


def test_a_head_that_was_lost_is_a_clear_error(whole_life: Lived, lived: Lived) -> None:
    lived.run(life())
    for file in (lived.path / HEADS_DIRECTORY).iterdir():
        file.write_bytes(b"gone")
    with pytest.raises(RunDirectoryError, match="does not match its name"):
        lived.run(stream(20, 1, 0.0))


def test_with_anchors_from_training_the_first_labels_say_what_is_normal(
    tmp_path: Path, bundle_trained_on_anchors: Bundle, bundle: Bundle
) -> None:
    """A camera that was tilted from the start is normal for a network that cannot know better."""
    tilted = list(stream(600, 8, 0.3, tilted=True))
    naive, wary = (Lived(tmp_path / b.path.name, b) for b in (bundle_trained_on_anchors, bundle))
    naive.run(iter(tilted))
    wary.run(iter(tilted))
    assert naive.ledger.updates == []
    assert wary.ledger.updates[0].frame <= 100


def test_an_evaluation_is_recorded_and_teaches_nothing(lived: Lived) -> None:
    with LedgerWriter(lived.path / LEDGER_FILE) as ledger:
        runtime = Runtime(lived.bundle, ledger, CountingMeter())
        head = runtime.head
        found = runtime.evaluate("before", "tilted", stream(100, 4, 1.0, tilted=True))
        assert runtime.head is head
    assert lived.ledger.evaluations == [found]
    assert found == Evaluation("before", "tilted", 100, found.correct)
    assert lived.ledger.ticks == []


def test_frames_without_a_known_truth_are_not_scored(lived: Lived) -> None:
    (batch,) = stream(20, 1, 0.0)
    lived.run(iter([replace(batch, truths=(None,) * 20)]))
    assert lived.ledger.ticks[0].scores == {}


def test_the_network_of_these_tests_is_neither_perfect_nor_poor(
    network: Network, patterns: Patterns
) -> None:
    images, names = patterns.draw(1000, seed=7)
    answers = [CLASSES[number] for number in network.logits(images).argmax(axis=1)]
    accuracy = np.mean([a == b for a, b in zip(answers, names, strict=True)])
    assert 0.9 < accuracy < 1.0
