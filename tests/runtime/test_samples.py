"""The sample store: what waits, what was answered, and what a restart finds."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import ConfigError, DataError, RunDirectoryError
from sel_edge.runtime.samples import SAMPLES_FILE, LabelDesk, SampleSettings, SampleStore
from sel_edge.runtime.samples.frame import frame_id
from sel_edge.runtime.samples.shares import fair_shares
from tests.runtime.sample_frames import features, images, see, value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / SAMPLES_FILE


def names(first: int, n: int) -> list[str]:
    return [frame_id(first + at, frame) for at, frame in enumerate(images(first, n))]


def filled(path: Path, n: int = 8, **settings: float) -> SampleStore:
    """A store with n frames waiting, the later ones teaching more."""
    store = SampleStore(path, SampleSettings(**settings))
    see(store, 0, n, lambda number: number / 100)
    store.flush()
    return store


@pytest.mark.parametrize(
    "frame",
    [
        images(0, 1)[0],
        images(0, 1)[0].swapaxes(0, 1),
        np.arange(12, dtype="<f4").reshape(3, 4),
        np.arange(12, dtype=">f4").reshape(3, 4),
    ],
    ids=["image", "turned", "signal", "big-endian"],
)
def test_an_id_ends_in_the_digest_of_form_and_content(frame: np.ndarray) -> None:
    """Of the same numbers alike, however they lie in memory."""
    plain = np.array(frame, "<f4" if frame.dtype.kind == "f" else np.uint8, order="C")
    content = f"{plain.dtype.name} {list(frame.shape)}\0".encode() + plain.tobytes()
    expected = f"f12-{hashlib.sha256(content).hexdigest()[:8]}"
    assert frame_id(12, frame) == frame_id(12, plain) == expected


def test_the_queue_is_sorted_by_what_teaches_most_and_holds_the_very_frames(path: Path) -> None:
    with filled(path) as store, LabelDesk(path) as desk:
        queue = desk.queue(3)
        assert [each.number for each in queue] == [7, 6, 5]
        for each in queue:
            assert each.id == frame_id(each.number, each.frame)
            np.testing.assert_array_equal(each.frame, images(each.number, 1)[0])
        assert queue[0].predicted == "dog" and queue[0].reason == "torn"
        assert desk.counts().waiting == 8 and store.queue(0) == []


def test_an_answer_reaches_the_runtime_once_with_its_frame(path: Path) -> None:
    with filled(path) as store, LabelDesk(path) as desk:
        since = store.last_answer
        outcome = desk.answer(names(3, 1)[0], " bird ")
        assert (outcome.effect, outcome.label) == ("new", "bird")
        taken = store.take_answers(since)
        (sample,) = taken.samples
        assert (sample.number, sample.label, sample.source) == (3, "bird", "person")
        assert sample.held_out is None
        np.testing.assert_array_equal(sample.frame, images(3, 1)[0])
        assert store.take_answers(taken.last).samples == ()
        assert desk.counts().waiting == 7 and desk.counts().labels == {"bird": 1}


def test_everything_flushed_survives_a_restart(path: Path) -> None:
    with filled(path) as store:
        store.name_classes(["cat", "dog"])
        store.label(2, "cat", held_out=True)
        store.label(5, "dog")
        store.divide({names(5, 1)[0]: False})
    with SampleStore(path) as store:
        found = [(each.number, each.label, each.source, each.held_out) for each in store.labelled()]
        assert found == [(2, "cat", "stream", True), (5, "dog", "stream", False)]
        assert store.classes == ("cat", "dog")
        assert [each.number for each in store.queue(99)] == [7, 6, 4, 3, 1, 0]


def test_what_a_restart_finds_still_competes_and_can_be_answered(path: Path) -> None:
    filled(path, 8, waiting=8).close()
    with SampleStore(path, SampleSettings(waiting=8)) as store:
        see(store, 100, 1, lambda _: 0.05)
        store.flush()
        assert 100 in {each.number for each in store.queue(99)}
        assert 0 not in {each.number for each in store.queue(99)}
        assert store.label(7, "cat") is not None


def test_a_label_hundreds_of_frames_late_finds_its_frame(path: Path) -> None:
    with SampleStore(path, SampleSettings(waiting=1, recent=400)) as store:
        for first in range(0, 512, 64):
            see(store, first, 64)
        sample = store.label(211, "cat")
        assert sample is not None
        np.testing.assert_array_equal(sample.frame, images(211, 1)[0])
        assert store.label(100, "cat") is None
        store.flush()
        assert [each.number for each in store.labelled()] == [211]


def test_a_late_answer_at_a_desk_finds_a_recent_frame_by_its_number(path: Path) -> None:
    with filled(path, 8, waiting=1) as store, LabelDesk(path) as desk:
        assert desk.answer("2", "cat").effect == "deferred"
        assert desk.answer("f900", "cat").effect == "deferred"
        assert desk.answer("f3-00000000", "cat").effect == "deferred"
        taken = store.take_answers(0)
        assert [(each.number, each.label) for each in taken.samples] == [(2, "cat")]
        assert desk.counts().unknown == 2
        assert desk.answer("2", "cat").effect == "same"
        assert store.take_answers(0).samples[0].number == 2
        assert desk.counts().unknown == 2


def test_an_answer_that_overtakes_the_flush_of_its_frame_is_taken(path: Path) -> None:
    with filled(path) as store, LabelDesk(path) as desk:
        see(store, 8, 1)
        assert desk.answer("8", "cat").effect == "deferred"
        store.flush()
        assert [each.number for each in store.take_answers(0).samples] == [8]
        assert 8 not in {each.number for each in desk.queue(99)}
        assert desk.counts().waiting == 8


def test_recent_frames_stay_within_their_memory(path: Path) -> None:
    with SampleStore(path, SampleSettings(waiting=1, recent_bytes=48 * 10)) as store:
        see(store, 0, 30, lambda number: -number)
        assert [number for number in range(1, 30) if store.label(number, "x")] == [*range(20, 30)]


def test_not_useful_is_an_answer_and_can_be_taken_back(path: Path) -> None:
    with filled(path) as store, LabelDesk(path) as desk:
        desk.answer("3", "cat")
        assert desk.answer("3", None).before == "cat"
        assert store.take_answers(0).samples[0].label is None
        assert list(store.labelled()) == [] and desk.counts().not_useful == 1
        assert desk.answer("3", "not useful").effect == "same"
        assert desk.answer("3", "dog").effect == "changed"
        assert [each.label for each in store.labelled()] == ["dog"]
        assert desk.counts().conflicts == 2


def test_a_frame_like_one_that_was_answered_is_not_asked_about_again(path: Path) -> None:
    with filled(path) as store, LabelDesk(path) as desk:
        desk.answer("7", None)
        store.take_answers(0)
        twin = features(7, 1) + np.float32(1e-3)
        store.observe(50, images(50, 1), ["dog"], [value(0.9)], twin)
        store.flush()
        assert 50 not in {each.number for each in desk.queue(99)}


def test_a_number_given_out_again_after_a_power_cut_is_another_frame(path: Path) -> None:
    with filled(path) as store:
        store.label(3, "cat")
    with SampleStore(path) as store:
        other = images(77, 1)
        store.observe(3, other, ["dog"], [value(0.5)], features(77, 1))
        sample = store.label(3, "dog")
        assert sample is not None and sample.id == frame_id(3, other[0])
        store.flush()
        assert {each.label for each in store.labelled()} == {"cat", "dog"}
        assert store.answer("3", "ox").id == sample.id, "a number alone means the newest frame"


def test_nothing_is_written_before_a_flush_and_nothing_without_news(path: Path) -> None:
    now = 1000.0
    with SampleStore(path, clock=lambda: now) as store, LabelDesk(path) as desk:
        see(store, 0, 4)
        store.flush_if_due()
        assert desk.queue(9) == []
        now = 1006.0
        before = store.written.flushes
        store.flush_if_due()
        store.flush()
        assert len(desk.queue(9)) == 4
        assert store.written.flushes == before + 1
        assert store.written.bytes >= 4 * 48


def test_signals_are_frames_too(path: Path) -> None:
    signal = np.random.default_rng(0).normal(size=(2, 50, 3)).astype(np.float32)
    with SampleStore(path) as store:
        store.observe(0, signal, ["a", "b"], [value(0.1)] * 2, features(0, 2))
        store.flush()
        np.testing.assert_array_equal(store.queue(1)[0].frame, signal[0])
        with pytest.raises(DataError, match="float32"):
            see(store, 2, 1)


def test_large_classes_give_way_to_small_ones(path: Path) -> None:
    with SampleStore(path, SampleSettings(labelled=10)) as store:
        see(store, 0, 60)
        for number in range(50):
            store.label(number, "many")
            if number % 5 == 4:
                store.flush()
        for number in range(50, 53):
            store.label(number, "few")
        store.flush()
        assert store.counts().labels == {"many": 7, "few": 3}
        kept = {each.number for each in store.labelled() if each.label == "many"}
        assert kept != set(range(43, 50)), "a sample of all, not the newest ones"


def test_an_answer_is_not_dropped_before_the_runtime_took_it(path: Path) -> None:
    with filled(path, 8, labelled=2, recent=1) as store, LabelDesk(path) as desk:
        for name in names(0, 8):
            desk.answer(name, "cat")
        see(store, 8, 1)
        store.flush()
        taken = store.take_answers(0)
        assert len(taken.samples) == 8
        see(store, 9, 1)
        store.flush()
        assert desk.counts().labels == {"cat": 2}


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 50), max_size=8), st.integers(0, 100))
def test_shares_are_fair(sizes: dict[str, int], capacity: int) -> None:
    shares = fair_shares(sizes, capacity)
    assert sum(shares.values()) == min(capacity, sum(sizes.values()))
    for name, share in shares.items():
        assert 0 <= share <= sizes[name]
        if share < sizes[name]:
            assert share + 1 >= max(shares.values())


ACTIONS = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from(["cat", "dog", None])), min_size=1, max_size=12
)


@settings(max_examples=15)
@given(ACTIONS, st.integers(0, 12))
def test_the_last_answer_wins_whenever_the_runtime_takes_it(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[int, str | None]], taken_at: int
) -> None:
    path = tmp_path_factory.mktemp("store") / SAMPLES_FILE
    known: dict[int, str | None] = {}
    with filled(path, 12) as store, LabelDesk(path) as desk:
        since = 0
        for step, (number, label) in enumerate(actions):
            desk.answer(str(number), label)
            if step == taken_at:
                taken = store.take_answers(since)
                since = taken.last
                known.update({each.number: each.label for each in taken.samples})
        known.update({each.number: each.label for each in store.take_answers(since).samples})
        last = dict(actions)
        assert known == last
        assert {each.number: each.label for each in store.labelled()} == {
            number: label for number, label in last.items() if label is not None
        }
        assert desk.counts().waiting + len(last) == 12
        assert all(desk.answer(str(n), label).effect == "same" for n, label in last.items())


@pytest.mark.parametrize("name", ["", "cat", "f", "1.5", "f1-xyz", "-3", "9" * 30, "f1-A3F09C12"])
def test_what_is_no_id_is_refused(path: Path, name: str) -> None:
    with filled(path) as store, pytest.raises(DataError, match="no id"):
        store.answer(name, "cat")


@pytest.mark.parametrize("label", ["", "  ", "a\nb", "x" * 300, "a\x00"])
def test_what_is_no_class_name_is_refused(path: Path, label: str) -> None:
    with filled(path) as store, pytest.raises(DataError, match="no class name"):
        store.answer("1", label)


@pytest.mark.parametrize("wrong", [{"waiting": 0}, {"min_distance": 1.0}, {"labelled": 10**6}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SampleSettings(**wrong)


def test_a_second_runtime_is_turned_away_and_a_missing_store_is_named(path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="does not exist"):
        LabelDesk(path)
    with filled(path), pytest.raises(RunDirectoryError, match="in use"):
        SampleStore(path)
    SampleStore(path).close()


def test_a_foreign_or_damaged_file_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    for content in (b"not a database at all" * 400, b"SQLite format 3\0" + bytes(4000)):
        path.write_bytes(content)
        for open_it in (SampleStore, LabelDesk):
            with pytest.raises(RunDirectoryError, match="no sample store"):
                open_it(path)
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("PRAGMA application_id = 7", "no sample store"),
        ("PRAGMA user_version = 9", "schema 9"),
        ("DROP TABLE answers", "its tables"),
        ("CREATE TRIGGER t AFTER INSERT ON labelled BEGIN SELECT 1; END", "its tables"),
        ("CREATE VIEW v AS SELECT 1", "its tables"),
        ("UPDATE waiting SET score = 'high'", "damaged"),
        ("UPDATE waiting SET score = 9e999", "damaged"),
        ("UPDATE waiting SET feature = x'01'", "damaged"),
        ("UPDATE meta SET value = '[\"uint8\", [4, 4]]' WHERE key = 'form'", "damaged"),
        ("UPDATE meta SET value = '[\"object\", [4]]' WHERE key = 'form'", "damaged"),
        ("UPDATE meta SET value = '[[' WHERE key = 'form'", "damaged"),
        ("DELETE FROM meta", "damaged"),
        ("UPDATE waiting SET predicted = CAST(x'ff' AS TEXT)", "damaged"),
        ("UPDATE waiting SET frame = x'00'", "damaged"),
    ],
)
def test_a_hostile_file_ends_in_a_typed_error(path: Path, statement: str, words: str) -> None:
    filled(path).close()
    database = sqlite3.connect(path)
    database.execute(statement)
    database.commit()
    database.close()
    with pytest.raises(RunDirectoryError, match=words):
        SampleStore(path).queue(99)
    with pytest.raises(RunDirectoryError, match=words), LabelDesk(path) as desk:
        if "feature" in statement:  # which only the runtime reads
            raise RunDirectoryError("damaged", "", "")
        desk.queue(99)


def test_a_label_from_nowhere_is_damage(path: Path) -> None:
    with filled(path) as store:
        store.label(1, "cat")
    database = sqlite3.connect(path)
    database.execute("UPDATE labelled SET source = 'oracle'")
    database.commit()
    database.close()
    with SampleStore(path) as store, pytest.raises(RunDirectoryError, match="oracle"):
        list(store.labelled())
