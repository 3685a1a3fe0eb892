"""Answers that come as a file or folder: what is good is taken, what is not is told, and reading
the same again does nothing."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sel_edge.core.errors import DataError
from sel_edge.runtime.samples import SAMPLES_FILE, LabelDesk, SampleSettings, SampleStore
from sel_edge.runtime.samples.frame import digest, frame_id
from tests.runtime.sample_frames import SHAPE, images, see


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SampleStore]:
    with SampleStore(tmp_path / "state" / SAMPLES_FILE) as store:
        see(store, 0, 8)
        store.flush()
        yield store


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "answers.csv"


def name(number: int) -> str:
    return frame_id(number, images(number, 1)[0])


def labels(store: LabelDesk) -> dict[str, int]:
    return dict(store.counts().labels)


def save(number: int, place: Path, **options: object) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(images(number, 1)[0]).save(place, **options)


def test_good_rows_are_taken_and_bad_ones_told_with_their_lines(store, csv) -> None:
    rows = [
        *("id,label", f"{name(0)},cat", "", "nonsense,cat", f"{name(1)}", f"{name(2)},a,b"),
        *(f'{name(3)},"dog, old"', f'{name(4)},"never closed', f"{name(5)},", "6,not useful"),
    ]
    csv.write_bytes("\r\n".join(rows).encode("utf-8-sig") + b"\n\xff\xfe,cat\n7\x00,cat")
    report = store.import_answers(csv)
    assert [(each.id, each.label) for each in report.outcomes] == [
        *((name(0), "cat"), (name(3), "dog, old"), (name(6), None)),
    ]
    told = [problem.split(":")[0] for problem in report.problems]
    assert told == [f"Line {number}" for number in (4, 5, 6, 8, 9, 11, 12)]
    assert report.problem_count == 7
    assert labels(store) == {"cat": 1, "dog, old": 1} and store.counts().not_useful == 1


def test_reading_again_changes_nothing_and_a_grown_file_adds(store, csv) -> None:
    csv.write_text(f"{name(0)},cat\n1,dog\n900,dog\n")
    store.import_answers(csv)
    since, flushes = store.take_answers(0).last, store.written.flushes
    report = store.import_answers(csv)
    assert {each.effect for each in report.outcomes} == {"same"}
    assert store.take_answers(since).samples == () and store.written.flushes == flushes
    with csv.open("a") as file:
        file.write("2,dog\n")
    store.import_answers(csv)
    assert [each.number for each in store.take_answers(since).samples] == [2]
    assert store.counts().unknown == 1


def test_the_last_row_for_a_frame_wins_and_the_contradiction_is_told(store, csv) -> None:
    csv.write_text("0,cat\n0,cat\n0,dog\n")
    report = store.import_answers(csv)
    assert labels(store) == {"dog": 1}
    assert report.problems == ("Line 3: f0 had another label in line 2.",)


def test_a_stale_file_does_not_undo_what_a_person_said_later(store, csv) -> None:
    csv.write_text("0,cat\n")
    store.import_answers(csv)
    assert store.answer("0", "dog").before == "cat"
    store.import_answers(csv)
    assert labels(store) == {"dog": 1}
    csv.write_text("0,ox\n")
    store.import_answers(csv)
    assert labels(store) == {"ox": 1} and store.counts().conflicts == 2


def test_a_path_that_is_not_there_yet_has_no_answers(store, tmp_path) -> None:
    assert store.import_answers(tmp_path / "later") == store.import_answers(tmp_path / "l.csv")
    with pytest.raises(DataError, match="no file"):
        store.import_answers(Path("/dev/null"))


def test_a_file_without_end_is_refused(store, csv) -> None:
    csv.write_text("0,cat\n" * 70_000)
    with pytest.raises(DataError, match="at most"):
        store.import_answers(csv)
    assert labels(store) == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.binary(max_size=300) | st.text(alphabet='01f-,"\n\r catdog', max_size=200).map(str.encode)
)
def test_no_csv_does_harm(store: SampleStore, csv: Path, content: bytes) -> None:
    csv.write_bytes(content)
    first = store.import_answers(csv)
    assert first.problem_count >= len(first.problems)
    again = store.import_answers(csv)
    assert {each.effect for each in again.outcomes} <= {"same"}
    assert again.problems == first.problems


def test_images_sorted_into_folders_answer_by_name_and_by_content(store, tmp_path) -> None:
    folder = tmp_path / "sorted"
    save(0, folder / "cat" / f"{name(0)}.png")
    save(1, folder / "dog" / "holiday.png")
    save(2, folder / "not-useful" / f"{name(2)}.png")
    save(3, folder / f"{name(3)}.png")
    (folder / "owl").mkdir()
    report = store.import_answers(folder)
    assert labels(store) == {"cat": 1, "dog": 1} and store.counts().not_useful == 1
    assert report.problems == ()
    assert {each.effect for each in store.import_answers(folder).outcomes} == {"same"}
    (folder / "cat" / f"{name(0)}.png").rename(folder / "dog" / f"{name(0)}.png")
    store.import_answers(folder)
    assert labels(store) == {"dog": 2}


def test_an_exported_frame_that_left_the_queue_brings_its_content_along(store, tmp_path) -> None:
    folder = tmp_path / "sorted"
    frame = images(500, 1)[0]
    save(500, folder / "cat" / f"{frame_id(500, frame)}.png")
    save(501, folder / "cat" / f"f501-{digest(frame)}.png")  # the content of another frame
    tiny = np.zeros((2, 2, 3), dtype=np.uint8)
    Image.fromarray(tiny).save(folder / "cat" / f"f502-{digest(tiny)}.png")
    report = store.import_answers(folder)
    assert [each.effect for each in report.outcomes] == ["new", "deferred", "deferred"]
    (sample,) = store.take_answers(0).samples
    assert (sample.number, sample.source) == (500, "file")
    np.testing.assert_array_equal(sample.frame, frame)


def test_a_number_that_names_an_image_is_no_id(store, tmp_path) -> None:
    folder = tmp_path / "sorted"
    save(77, folder / "cat" / "0000.png")
    save(1, folder / "dog" / "0002.png")
    report = store.import_answers(folder)
    assert [each.id for each in report.outcomes] == [name(1)]
    assert report.problems == ("cat/0000.png is none of the frames.",)


def test_files_that_are_no_frames_are_told_and_the_others_taken(store, tmp_path) -> None:
    folder = tmp_path / "sorted"
    save(0, folder / "cat" / f"{name(0)}.png")
    save(0, folder / "dog" / f"{name(0)}.png")
    save(77, folder / "cat" / "stranger.png")
    (folder / "cat" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"broken" * 9)
    (folder / "cat" / "b.txt").write_text("dear")
    save(1, folder / ("x" * 255) / f"{name(1)}.png")
    save(2, folder / "a\nb" / f"{name(2)}.png")
    report = store.import_answers(folder)
    assert labels(store) == {"cat": 1, "x" * 255: 1}
    assert report.problem_count == 5
    assert "cat/stranger.png is none of the frames." in report.problems
    assert f"dog/{name(0)}.png lies in the folder of another class, too." in report.problems


def test_a_decompression_bomb_is_told(store, tmp_path) -> None:
    folder = tmp_path / "sorted" / "cat"
    folder.mkdir(parents=True)
    Image.new("L", (9000, 9000)).save(folder / "bomb.png")
    report = store.import_answers(folder.parent)
    assert report.problem_count == 1 and "too many pixels" in report.problems[0]


def test_an_archive_is_read_as_a_folder_is_and_a_hostile_one_refused(store, tmp_path) -> None:
    save(0, tmp_path / "a.png")
    archive = tmp_path / "sorted.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "a.png", f"mine/cat/{name(0)}.png")
    store.import_answers(archive)
    assert labels(store) == {"cat": 1}
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "a.png", "../cat/a.png")
    with pytest.raises(DataError):
        store.import_answers(archive)


def test_answers_before_the_first_frame_give_the_store_its_form(tmp_path) -> None:
    folder = tmp_path / "sorted"
    save(5, folder / "cat" / f"{name(5)}.png")
    with SampleStore(tmp_path / SAMPLES_FILE, SampleSettings()) as store:
        store.import_answers(folder)
        assert [each.frame.shape for each in store.labelled()] == [SHAPE]
