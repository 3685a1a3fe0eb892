"""Labels whenever they come: late, from a desk, from an earlier session, of forgotten frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.eyes import Eyes, Sight
from sel_edge.runtime.moments import MomentModel, bundle_moments
from sel_edge.runtime.network import bundle_network
from sel_edge.runtime.samples.desk import SAMPLES_FILE, LabelDesk
from sel_edge.runtime.samples.frame import frame_id
from sel_edge.runtime.samples.store import SampleStore
from sel_edge.runtime.samples.value import teaching_value
from sel_edge.runtime.surroundings import Surroundings
from sel_edge.runtime.teaching import Teaching
from tests.runtime.conftest import CLASSES, NEW_CLASS, Patterns
from tests.runtime.living import Lived, stream

DEAF = RuntimeConfig(on=1e6)
REMEMBERED = 40

Told = tuple[str, int, str, bytes]
"""How a label came, its frame, its name, and the feature as it was seen."""


@dataclass
class Listener:
    """Stands in for the learners: hears which labels come, and how."""

    told: list[Told] = field(default_factory=list)
    domains: set[int] = field(default_factory=set)
    retracted: list[int] = field(default_factory=list)

    def label(self, domain: int, name: str, feature: NDArray[np.float32], frame: int) -> None:
        self._hear("label", domain, name, feature, frame)

    def remember(self, domain: int, name: str, feature: NDArray[np.float32], frame: int) -> None:
        self._hear("remember", domain, name, feature, frame)

    def retract(self, frame: int) -> None:
        self.retracted.append(frame)

    def _hear(self, how: str, domain: int, name: str, feature: NDArray[np.float32], n: int) -> None:
        self.domains.add(domain)
        self.told.append((how, n, name, feature.tobytes()))


class School:
    """Teaching with a store, what was seen, and somebody who listens; frames are numbered on."""

    def __init__(self, path: Path, bundle: Bundle, model: MomentModel, eyes: Eyes) -> None:
        self.path, self._bundle, self._model, self._eyes = path, bundle, model, eyes
        self.network, self.seen, self.images = bundle_network(bundle), 0, []
        self.listener = Listener()

    @contextmanager
    def open(self, restored: int = 512) -> Iterator[Teaching]:
        config = replace(DEAF, remembered_frames=REMEMBERED)
        head = self.network.head
        self.surroundings = Surroundings(self._bundle, self._model, head, config, 64)
        self.listener = Listener()
        with SampleStore(self.path / SAMPLES_FILE) as store:
            classroom: Classroom = self.listener  # type: ignore[assignment]
            yield Teaching(store, classroom, self.surroundings, self.look, restored)

    def look(self, frames: NDArray[np.uint8]) -> Sight:
        return self._eyes.look(frames, self.network, self._eyes.router())

    def show(self, teaching: Teaching, n: int = 20, labels: int = 0, seed: int = 100) -> range:
        """Let it see frames of which the first have their labels with them; their numbers."""
        images, names = Patterns().draw(n, seed + self.seen)
        sight, first = self.look(images), self.seen
        logits = self.network.head.logits(sight.features)
        self.surroundings.add(first, images, sight, logits, self.network)
        teaching.observe(first, images, sight, logits, np.zeros(n), CLASSES)
        teaching.told(first, [name if at < labels else None for at, name in enumerate(names)])
        self.seen += n
        self.images += list(images)
        return range(first, self.seen)

    def feature(self, number: int) -> bytes:
        return self.look(self.images[number][None]).features[0].tobytes()

    def heard(self) -> list[tuple[str, int, str]]:
        return [(how, frame, name) for how, frame, name, _ in self.listener.told]


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> MomentModel:
    return bundle_moments(bundle)


@pytest.fixture(scope="module")
def eyes(bundle: Bundle, model: MomentModel) -> Eyes:
    return Eyes(bundle, model, threads=1)


@pytest.fixture
def school(tmp_path: Path, bundle: Bundle, model: MomentModel, eyes: Eyes) -> School:
    return School(tmp_path, bundle, model, eyes)


class TestLateLabels:
    def test_of_a_remembered_frame_they_cost_no_look(self, school: School) -> None:
        with school.open() as teaching:
            school.show(teaching)
            assert teaching.label(7, "north")
            assert teaching.looks == 0
        (told,) = school.listener.told
        assert told[:3] == ("label", 7, "north")
        seen = school.surroundings.recall(7)
        assert seen is not None and seen.label == "north" and told[3] == seen.feature.tobytes()

    def test_of_a_forgotten_frame_they_look_again(self, school: School) -> None:
        """The pixels are remembered for longer than what the network saw in them."""
        with school.open() as teaching:
            school.show(teaching, 20)
            school.show(teaching, REMEMBERED)
            assert school.surroundings.recall(3) is None
            assert teaching.label(3, "east") and teaching.looks == 1
        assert school.listener.told == [("label", 3, "east", school.feature(3))]
        assert school.listener.domains == {OWN}

    def test_of_a_frame_that_nobody_knows_they_teach_nothing(self, school: School) -> None:
        with school.open() as teaching:
            school.show(teaching)
            assert not teaching.label(20, "east") and not teaching.label(-1, "east")
        assert school.heard() == []

    def test_a_number_that_stands_for_another_frame_now_is_looked_at(self, school: School) -> None:
        """As after a crash in which the ledger lost frames that the store had kept."""
        with school.open() as teaching:
            school.show(teaching, 20, labels=20)
        school.seen = 0
        old, school.images = school.images, []
        with school.open() as teaching:
            school.show(teaching, 20, seed=7)
            with LabelDesk(school.path / SAMPLES_FILE) as desk:
                desk.answer(frame_id(5, old[5]), NEW_CLASS)
            looks = teaching.looks
            assert teaching.take_answers() == 1 and teaching.looks == looks + 1
        assert school.listener.told[-1][:3] == ("label", 5, NEW_CLASS)
        school.images = old
        assert school.listener.told[-1][3] == school.feature(5)

    def test_labels_that_came_in_time_were_heard_already(self, school: School) -> None:
        with school.open() as teaching:
            school.show(teaching, 20, labels=20)
            assert teaching.looks == 0
        assert school.heard() == []


class TestAnswers:
    def test_they_are_taken_once(self, school: School) -> None:
        with school.open() as teaching:
            school.show(teaching)
            with LabelDesk(school.path / SAMPLES_FILE) as desk:
                desk.answer("f4", "east")
                desk.answer("f9", "north")
                assert teaching.take_answers() == 2
                assert [teaching.take_answers() for _ in range(3)] == [0, 0, 0]
                desk.answer("f11", NEW_CLASS)
                desk.answer("f4", "east")  # nothing new
                assert teaching.take_answers() == 1
        expected = [("label", 4, "east"), ("label", 9, "north"), ("label", 11, NEW_CLASS)]
        assert sorted(school.heard(), key=lambda told: told[1]) == expected
        seen = school.surroundings.recall(9)
        assert seen is not None and seen.label == "north"

    def test_not_useful_and_unknown_frames_teach_nothing(self, school: School) -> None:
        with school.open() as teaching:
            school.show(teaching)
            with LabelDesk(school.path / SAMPLES_FILE) as desk:
                desk.answer("f4", None)
                desk.answer("f400", "east")
            assert teaching.take_answers() == 0
        assert school.heard() == []

    def test_those_of_the_time_that_it_was_off_are_not_taken_as_news(self, school: School) -> None:
        with school.open() as teaching:
            school.show(teaching, 20, labels=5)
        with LabelDesk(school.path / SAMPLES_FILE) as desk:
            desk.answer("f2", NEW_CLASS)
        with school.open() as teaching:
            assert teaching.take_answers() == 0
        assert ("remember", 2, NEW_CLASS) in school.heard() and len(school.heard()) == 5


class TestWhatHolds:
    """The last answer to each frame that is known, for all who ask."""

    @pytest.fixture
    def valued_by(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
        """The labels of each class by which frames were valued, time after time."""
        used: list[dict[str, int]] = []

        def spied(logits: Any, classes: Any, labels: Mapping[str, int], novelty: Any) -> Any:
            used.append({name: count for name, count in labels.items() if count})
            return teaching_value(logits, classes, labels, novelty)

        monkeypatch.setattr("sel_edge.runtime.teaching.teaching_value", spied)
        return used

    def test_frames_are_valued_by_the_labels_that_there_are(
        self, school: School, valued_by: list[dict[str, int]]
    ) -> None:
        with school.open() as teaching:
            school.show(teaching, 20)
            for frame, name in ((3, "east"), (4, "east"), (5, "north"), (400, "east")):
                teaching.label(frame, name)
            school.show(teaching, 1)
            assert valued_by[-1] == {"east": 2, "north": 1}  # nobody knows frame 400
            teaching.label(4, "north")
            teaching.label(3, "east")
            school.show(teaching, 1)
            assert valued_by[-1] == {"east": 1, "north": 2}
            with LabelDesk(school.path / SAMPLES_FILE) as desk:
                desk.answer("f3", None)
                desk.answer("f5", NEW_CLASS)
                desk.answer("f6", None)
            teaching.take_answers()
            school.show(teaching, 1)
            assert valued_by[-1] == {"north": 1, NEW_CLASS: 1}
        with school.open(restored=0) as teaching, LabelDesk(school.path / SAMPLES_FILE) as desk:
            school.show(teaching, 1)
            assert valued_by[-1] == desk.counts().labels == {"north": 1, NEW_CLASS: 1}
            desk.answer("f4", None)
            teaching.take_answers()
            school.show(teaching, 1)
            assert valued_by[-1] == desk.counts().labels == {NEW_CLASS: 1}

    def test_what_is_called_not_useful_later_has_no_label_any_more(self, school: School) -> None:
        with school.open() as teaching:
            school.show(teaching, 20, labels=5)
            before = school.surroundings.recall(4)
            with LabelDesk(school.path / SAMPLES_FILE) as desk:
                desk.answer("f4", None)
            assert teaching.take_answers() == 0
            after = school.surroundings.recall(4)
        assert before is not None and before.label is not None
        assert after is not None and after.label is None
        assert school.listener.retracted == [4]

    def test_no_other_frame_of_the_same_number_gets_the_label(self, school: School) -> None:
        """As after a crash in which the ledger lost frames that the store had kept."""
        with school.open() as teaching:
            school.show(teaching, 20, labels=20)
        school.seen, old, school.images = 0, school.images, []
        with school.open() as teaching:
            school.show(teaching, 20, seed=7)
            with LabelDesk(school.path / SAMPLES_FILE) as desk:
                desk.answer(frame_id(5, old[5]), NEW_CLASS)
            assert teaching.take_answers() == 1
            seen = school.surroundings.recall(5)
        assert seen is not None and seen.label is None


class TestRestart:
    def test_labels_are_remembered_in_order_and_looked_at_again(self, school: School) -> None:
        with school.open() as teaching:
            school.show(teaching, 20, labels=10)
            school.show(teaching, REMEMBERED)
            teaching.label(12, NEW_CLASS)
        with school.open() as teaching:
            assert teaching.looks == 11
        truths = Patterns().draw(20, 100)[1]
        expected = [("remember", n, truths[n]) for n in range(10)]
        assert school.heard() == [*expected, ("remember", 12, NEW_CLASS)]
        assert school.listener.told[4][3] == school.feature(4)

    @pytest.mark.parametrize("limit", [0, 1, 6, 10, 99])
    def test_the_newest_are_remembered_and_so_many_at_most(
        self, school: School, limit: int
    ) -> None:
        with school.open() as teaching:
            school.show(teaching, 20, labels=10)
        with school.open(limit) as teaching:
            assert teaching.looks == min(limit, 10)
        assert [frame for _, frame, _ in school.heard()] == list(range(10))[max(0, 10 - limit) :]

    def test_what_a_person_called_not_useful_is_not_remembered(self, school: School) -> None:
        with school.open() as teaching:
            school.show(teaching, 20, labels=5)
        with LabelDesk(school.path / SAMPLES_FILE) as desk:
            desk.answer("f2", None)
        with school.open():
            pass
        assert [frame for _, frame, _ in school.heard()] == [0, 1, 3, 4]


class TestInTheRuntime:
    """What labels cost and do where everything is real."""

    @pytest.fixture
    def lived(self, tmp_path: Path, bundle: Bundle) -> Lived:
        config = replace(DEAF, remembered_frames=REMEMBERED)
        return Lived(tmp_path / "run", bundle, config)

    def watching(self, lived: Lived) -> list[int]:
        return [tick.watching_flops for tick in lived.ledger.ticks]

    def test_looking_again_is_counted_as_watching(self, lived: Lived) -> None:
        """Once, in the tick that comes next, and at the price of a frame's answer."""
        batches = list(stream(120, 1, 0.0))
        with lived.runtime() as runtime:
            for batch in batches[:4]:
                runtime.process(batch)
            assert runtime.label(70, "east")  # remembered
            runtime.process(batches[4])
            assert runtime.label(3, "east") and runtime.label(4, "north")
            runtime.process(batches[5])
            runtime.process(batches[5])
        *_, remembered, forgotten, later = self.watching(lived)
        answer = lived.ledger.ticks[0].executed_flops // 20
        assert remembered == later
        assert 2 * answer <= forgotten - remembered < 3 * answer

    def test_so_are_answers_from_a_desk_and_labels_of_earlier_sessions(self, lived: Lived) -> None:
        batches = list(stream(120, 1, 0.0))
        with lived.runtime() as runtime:
            for batch in batches[:4]:
                runtime.process(batch)
            with LabelDesk(lived.path / SAMPLES_FILE) as desk:
                desk.answer("f3", "east")
            runtime.process(batches[4])
            runtime.process(batches[4])
        with lived.runtime() as runtime:
            runtime.process(batches[5])
            runtime.process(batches[5])
        answered, usual, restored, at_last = self.watching(lived)[-4:]
        answer = lived.ledger.ticks[0].executed_flops // 20
        assert answer <= answered - usual < 2 * answer
        assert answer <= restored - at_last < 2 * answer

    def test_a_corrected_label_takes_the_place_of_the_wrong_one(self, lived: Lived) -> None:
        with lived.runtime() as runtime:
            for batch in stream(120, 2, 1.0, tilted=True):
                runtime.process(batch)
            before = runtime.plans()[0].proposal.labels
            with LabelDesk(lived.path / SAMPLES_FILE) as desk:
                desk.answer("f100", NEW_CLASS)
                desk.answer("f101", NEW_CLASS)
            runtime.process(next(stream(20, 3, 0.0, tilted=True)))
            assert runtime.label(100, "east")
            after = runtime.plans()[0].proposal.labels
        assert (before, after) == (120, 119)  # one is of a name that nobody knows

    def test_a_class_named_at_a_desk_is_learned(self, tmp_path: Path, bundle: Bundle) -> None:
        lived = Lived(tmp_path / "run", bundle, RuntimeConfig(fold_block_frames=4))
        with lived.runtime() as runtime:
            for batch in stream(200, 3, 0.0, (NEW_CLASS,)):
                tick = runtime.process(batch).tick
                with LabelDesk(lived.path / SAMPLES_FILE) as desk:
                    desk.answer(f"f{tick.start}", NEW_CLASS)
                    desk.answer(f"f{tick.start + 9}", NEW_CLASS)
            assert NEW_CLASS in runtime.network.classes
