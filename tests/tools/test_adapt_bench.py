"""The adaptation benchmark: its stories are what they say."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from sel_edge.data.dataset import Dataset
from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.stories import (
    DELAY_FRAMES,
    DRIFTING,
    NEW_CLASSES,
    STORIES,
    WRONG_SHARE,
    Size,
    Story,
    tell,
)

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SIZE = Size(frames=800, quiet=80, exam=100, still=1500, labels=400)


def make_test_split() -> Dataset:
    """Frames that are all different: the number of each is written in its first pixels."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (1500, 8, 8, 3), dtype=np.uint8)
    return Dataset(frames, np.arange(1500) % 10, CLASSES)


TEST = make_test_split()
KNOWN = {frame.tobytes(): number for number, frame in enumerate(TEST.frames)}


@pytest.fixture(scope="module", params=list(STORIES))
def story(request: pytest.FixtureRequest) -> Story:
    return tell(request.param, TEST, SIZE, seed=1)


def test_it_is_whole_and_repeatable(story: Story) -> None:
    again = tell(story.name, TEST, SIZE, seed=1)
    assert (again.frames == story.frames).all() and again.labels == story.labels
    assert len(story.truths) == len(story.frames) == (1500 if story.name == "still" else 800)
    assert 0 < len(story.labels) <= SIZE.labels
    assert all(exam.after <= len(story.frames) for exam in story.exams)
    assert all(len(exam.truths) == len(exam.frames) for exam in story.exams)


def test_before_the_onset_nothing_is_changed_and_no_exam_frame_streams_past(story: Story) -> None:
    quiet = [KNOWN.get(frame.tobytes()) for frame in story.frames[: story.onset]]
    assert None not in quiet
    (old,) = [exam for exam in story.exams if exam.name == "old"]
    examined = {KNOWN[frame.tobytes()] for frame in old.frames}
    assert not examined & set(quiet)
    if story.name == "new_classes":
        later = [KNOWN[frame.tobytes()] for frame in story.frames[story.onset :]]
        assert not (examined | set(quiet)) & set(later)


def test_labels_are_right_but_where_they_are_to_be_wrong(story: Story) -> None:
    wrong = np.mean([label.name != story.truths[label.frame] for label in story.labels])
    expected = WRONG_SHARE if story.name == "wrong_labels" else 0.0
    assert wrong == pytest.approx(expected, abs=0.1 * expected / WRONG_SHARE)
    delay = DELAY_FRAMES if story.name == "late_labels" else 0
    assert {label.arrives - label.frame for label in story.labels} == {delay}


def test_a_story_with_one_label_per_class_has_no_more() -> None:
    labels = tell("one_label", TEST, SIZE, 0).labels
    assert set(Counter(label.name for label in labels).values()) == {1}
    assert all(label.frame >= SIZE.quiet for label in labels)


def test_classes_appear_that_were_never_there() -> None:
    story = tell("new_classes", TEST, SIZE, 0)
    assert story.network == "eight"
    assert not set(story.truths[: story.onset]) & set(NEW_CLASSES)
    assert set(story.truths[story.onset :]) == set(CLASSES)


def test_a_sorted_stream_shows_one_class_after_the_other() -> None:
    truths = tell("sorted", TEST, SIZE, 0).truths[SIZE.quiet :]
    assert sum(one != other for one, other in pairwise(truths)) == 9


def test_only_two_classes_drift() -> None:
    story = tell("two_classes", TEST, SIZE, 0)
    for frame, truth in zip(story.frames[story.onset :], story.truths[story.onset :], strict=True):
        assert (frame.tobytes() in KNOWN) == (truth not in DRIFTING)


def test_fog_thickens_and_lifts_at_once() -> None:
    story = tell("gradual", TEST, SIZE, 0)
    back = story.exams[0].after
    means = [story.frames[at : at + 80].mean() for at in range(0, back - 79, 80)]
    assert means[-1] > means[len(means) // 2] > means[0]
    assert all(frame.tobytes() in KNOWN for frame in story.frames[back:])


def test_recovery_is_counted_from_the_onset() -> None:
    right = [True] * 300 + [False] * 200 + [True] * 400
    assert Outcome({}, 0.0, 0.0, right=right).recovery_frames(300) == 195
    assert Outcome({}, 0.0, 0.0).recovery_frames(0) is None
