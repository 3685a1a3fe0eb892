"""Power cuts, other processes and full disks: an answer that was acknowledged is never lost."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sel_edge.core.errors import RunDirectoryError, StorageError
from sel_edge.runtime.samples import SAMPLES_FILE, LabelDesk, SampleStore
from sel_edge.runtime.samples import database as database_module
from tests.runtime.sample_frames import killed_after, moments, see
from tests.tools_needed import missing_tool

FRAMES = 200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / SAMPLES_FILE


def _answer(path: Path, sender: Any) -> None:
    """Answers one frame after another and says so once it is done."""
    with LabelDesk(path) as desk:
        sender.send(None)
        for each in desk.queue(FRAMES):
            desk.answer(each.id, f"class {each.number % 7}")
            sender.send((each.id, f"class {each.number % 7}"))


def _run(path: Path, sender: Any) -> None:
    """A runtime that sees frames, takes answers, flushes, and is answered by its own desk."""
    store, desk = SampleStore(path), LabelDesk(path)
    sender.send(None)
    since = store.last_answer
    for first in range(0, 10**6, 4):
        see(store, first, 4)
        store.label(first, "stream")
        store.flush()
        sender.send((first, "stream"))
        for each in desk.queue(2):
            desk.answer(each.id, "person")
            sender.send((each.id, "person"))
        taken = store.take_answers(since)
        since = taken.last
        store.divide({each.id: True for each in taken.samples})


def received(receiver: Any) -> dict[str, str]:
    """What a desk has said by now."""
    said: dict[str, str] = {}
    while receiver.poll():
        if (answer := receiver.recv()) is not None:
            said[answer[0]] = answer[1]
    return said


def stored(path: Path) -> dict[object, str | None]:
    """Label by id and by number."""
    with SampleStore(path) as store:
        found = [(each.id, each.number, each.label) for each in store.labelled()]
    by_id: dict[object, str | None] = {name: label for name, _, label in found}
    return by_id | {number: label for _, number, label in found}


def answers_after_a_kill(path: Path, seconds: float) -> tuple[int, int]:
    """Kill a desk while it answers; how many answers it acknowledged and how many are missing."""
    with SampleStore(path) as store:
        see(store, 0, FRAMES)
        store.flush()
        sent = killed_after(_answer, path, seconds)[1:]
        taken = {each.id: each.label for each in store.take_answers(0).samples}
    kept = stored(path)
    lost = sum(kept.get(name) != label or taken.get(name) != label for name, label in sent)
    return len(sent), lost


def labels_after_a_kill(path: Path, seconds: float) -> tuple[int, int]:
    """Kill a runtime; how many labels it flushed or took at a desk and how many are missing."""
    sent = killed_after(_run, path, seconds)[1:]
    kept = stored(path)
    return len(sent), sum(kept.get(name) != label for name, label in sent)


@pytest.mark.parametrize("seconds", moments(3, 0.15))
def test_a_killed_desk_loses_no_answer_it_gave(path: Path, seconds: float) -> None:
    _, lost = answers_after_a_kill(path, seconds)
    assert lost == 0


@pytest.mark.parametrize("seconds", moments(3, 0.3))
def test_a_killed_runtime_loses_nothing_it_had_flushed(path: Path, seconds: float) -> None:
    _, lost = labels_after_a_kill(path, seconds)
    assert lost == 0


@pytest.mark.proof
def test_two_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    results = []
    for number, seconds in enumerate(moments(100, 0.3)):
        results.append(answers_after_a_kill(tmp_path / f"desk-{number}.sqlite", seconds))
        results.append(labels_after_a_kill(tmp_path / f"runtime-{number}.sqlite", seconds))
    acknowledged, lost = (sum(numbers) for numbers in zip(*results, strict=True))
    print(f"{len(results)} kills, {acknowledged} acknowledged, {lost} lost")
    assert acknowledged > 1000 and lost == 0


def test_desks_and_a_runtime_write_at_the_same_time(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with SampleStore(path) as store:
        see(store, 0, FRAMES)
        store.flush()
        pipes = [context.Pipe(duplex=False) for _ in range(2)]
        desks = [context.Process(target=_answer, args=(path, sender)) for _, sender in pipes]
        for desk in desks:
            desk.start()
        answered: dict[str, str] = {}
        taken: dict[str, str | None] = {}
        since, first = 0, 1000
        while any(desk.is_alive() for desk in desks):
            see(store, first, 2, lambda _: 0.1)
            store.flush()
            answers = store.take_answers(since)
            since, first = answers.last, first + 2
            taken.update({each.id: each.label for each in answers.samples})
            for receiver, _ in pipes:  # also so that no desk waits for room in its pipe
                answered.update(received(receiver))
        for desk, (receiver, _) in zip(desks, pipes, strict=True):
            desk.join()
            assert desk.exitcode == 0
            answered.update(received(receiver))
        while (answers := store.take_answers(since)).samples:
            since = answers.last
            taken.update({each.id: each.label for each in answers.samples})
        assert taken == answered and len(taken) >= FRAMES
        assert store.counts().conflicts == 0


def test_a_store_that_is_held_for_long_is_named_and_nothing_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_S", 0.01)
    with SampleStore(path) as store:
        see(store, 0, 4)
        other = LabelDesk(path)
        with other._file.writing(), pytest.raises(RunDirectoryError, match="in use"):
            store.flush()
        store.flush()
        assert len(other.queue(9)) == 4
        other.close()


def test_a_full_disk_is_a_storage_error_and_the_next_flush_makes_up_for_it(path: Path) -> None:
    with SampleStore(path) as store:
        see(store, 0, 8)
        store.label(1, "cat")
        store.flush()
        pages = store._file._database.execute("PRAGMA page_count").fetchone()[0]
        store._file._database.execute(f"PRAGMA max_page_count = {pages}")
        see(store, 8, 200)
        store.label(9, "dog")
        with pytest.raises(StorageError, match="full"):
            store.flush()
        assert store.counts().waiting == 7 and store.counts().labels == {"cat": 1}
        store._file._database.execute("PRAGMA max_page_count = 100000")
        store.flush()
        assert store.counts().waiting == 206 and store.counts().labels == {"cat": 1, "dog": 1}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        missing_tool("this test mounts a small tmpfs: run it as root where mounting is allowed")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_on_a_disk_that_is_really_full_what_was_answered_stays(small_disk: Path) -> None:
    path, filler = small_disk / SAMPLES_FILE, small_disk / "filler"
    answered: dict[object, str] = {}
    with SampleStore(path) as store:
        see(store, 0, 60)
        store.flush()
        with LabelDesk(path) as desk:
            filler.write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096 - 16_384))
            with pytest.raises(StorageError):
                for each in desk.queue(60):
                    desk.answer(each.id, "cat")
                    answered[each.id] = "cat"
            see(store, 60, 60)
            with pytest.raises(StorageError):
                store.flush()
            filler.unlink()
            store.flush()
            assert desk.counts().waiting == 120 - len(answered)
    assert {
        name: label for name, label in stored(path).items() if isinstance(name, str)
    } == answered


def test_after_a_crash_every_page_is_checked(path: Path) -> None:
    with SampleStore(path) as store:
        see(store, 0, 100)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    path.with_name(f"{path.name}-wal").touch()
    with pytest.raises(RunDirectoryError, match="damaged"):
        SampleStore(path)


def test_a_creation_that_was_cut_off_is_begun_again(path: Path) -> None:
    path.touch()
    with pytest.raises(RunDirectoryError, match="does not exist"):
        LabelDesk(path)
    with SampleStore(path) as store:
        see(store, 0, 1)
    with LabelDesk(path) as desk:
        assert len(desk.queue(1)) == 1
