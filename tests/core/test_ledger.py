"""The ledger: whole ticks, nothing lost, nothing changed, and clear words for foreign files."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import RunDirectoryError, StorageError
from sel_edge.core.ledger import (
    LEDGER_FILE,
    ClassEmbarrassment,
    Decision,
    Evaluation,
    LedgerWriter,
    Levels,
    Session,
    Tick,
    Update,
    read_ledger,
)
from sel_edge.core.ledger_records import (
    decision_from_row,
    levels_from_row,
    session_from_row,
    tick_from_row,
    to_row,
    update_from_row,
)
from sel_edge.core.measurement import Energy

NUMBERS = st.floats(0, 1e12, allow_nan=False)
COUNTS = st.integers(0, 2**40)
NAMES = st.text(min_size=1, max_size=8)
ENERGY = st.builds(Energy, NUMBERS, st.sampled_from(["measured", "estimated"]))
WINDOWS = st.builds(ClassEmbarrassment, st.none() | NUMBERS, st.none() | NUMBERS, COUNTS)
TICKS = st.builds(
    Tick,
    start=COUNTS,
    n=COUNTS,
    segment=st.text(),
    scores=st.dictionaries(NAMES, st.tuples(COUNTS, COUNTS), max_size=3),
    embarrassment=st.dictionaries(NAMES, WINDOWS, max_size=3),
    executed_flops=COUNTS,
    energy=ENERGY,
    seconds=NUMBERS,
)
CLASSES = st.lists(NAMES, max_size=3).map(tuple)
DECISIONS = st.builds(
    Decision,
    COUNTS,
    st.sampled_from(["fire", "wants_labels", "keep", "reject"]),
    st.text(),
    CLASSES,
)
UPDATES = st.builds(
    Update,
    **{
        "frame": COUNTS,
        "classes": CLASSES,
        "kept": st.booleans(),
        "labels": COUNTS,
        "held_out": COUNTS,
        "energy": ENERGY,
        "seconds": NUMBERS,
        "executed_flops": COUNTS,
        "delta_bytes": COUNTS,
        "head_before": NAMES,
        "head_after": NAMES,
        **{
            f"{what}_{when}": NUMBERS
            for what in ("held_out", "anchors")
            for when in ("before", "after")
        },
    },
)


SESSIONS = st.builds(
    Session,
    frame=COUNTS,
    started_utc=st.text(),
    source=st.text(),
    source_sha256=st.text(),
    note=st.text(),
    meter=st.text(),
    energy_origin=st.sampled_from(["measured", "estimated"]),
    versions=st.dictionaries(NAMES, st.text(), max_size=3),
)
LEVEL = st.tuples(NUMBERS, NUMBERS, NUMBERS)
LEVELS = st.builds(Levels, COUNTS, NAMES, st.dictionaries(NAMES, LEVEL, max_size=3), LEVEL, LEVEL)


def tick(start: int = 0, n: int = 10) -> Tick:
    windows = {"cat": ClassEmbarrassment(1.5, None, 3)}
    energy = Energy(0.5, "estimated")
    return Tick(start, n, "1: clean", {"cat": (4, 3)}, windows, 1000, energy, 0.1)


def session(frame: int) -> Session:
    source = ("digits:test?labels=0.1", "f" * 64, "a note")
    return Session(
        frame, "2026-01-02T03:04:05+00:00", *source, "rapl:0", "measured", {"numpy": "2"}
    )


def update(head_after: str, kept: bool = True) -> Update:
    energy = Energy(0.1, "estimated")
    return Update(
        *(10, ("cat",), kept, 12, 4, 1.9, 0.6, 0.4, 0.4, 99, energy, 0.01, "aa", head_after, 68)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / LEDGER_FILE


@given(TICKS, DECISIONS, UPDATES, SESSIONS, LEVELS)
def test_every_record_comes_back_from_its_row(
    some_tick: Tick, decision: Decision, some_update: Update, session: Session, levels: Levels
) -> None:
    with sqlite3.connect(":memory:") as database:
        database.row_factory = sqlite3.Row

        def through_the_database(record: Any) -> sqlite3.Row:
            row = to_row(record)
            columns = ", ".join(f":{name} AS {name}" for name in row)
            found: sqlite3.Row = database.execute(f"SELECT {columns}", row).fetchone()
            return found

        assert tick_from_row(through_the_database(some_tick)) == some_tick
        assert decision_from_row(through_the_database(decision)) == decision
        assert update_from_row(through_the_database(some_update)) == some_update
        assert session_from_row(through_the_database(session)) == session
        assert levels_from_row(through_the_database(levels)) == levels
    database.close()


def test_what_is_recorded_is_read_in_order(path: Path) -> None:
    fire = Decision(10, "fire", "cat: E 1.9 over 40 labels, was 0.4", ("cat",))
    evaluation = Evaluation("before", "shifted", 100, 41)
    sessions = [session(0), session(10)]
    levels = Levels(10, "bb", {"cat": (0.1, 0.25, 0.01)}, (0.2, 0.3, 0.1), (0.2, 0.3, 0.1))
    with LedgerWriter(path) as ledger:
        ledger.identify("bundle_hash", "abc")
        ledger.record_session(sessions[0])
        ledger.record(tick(), [fire], [update("bb")], levels)
        ledger.record_session(sessions[1])
        ledger.record(tick(10))
        ledger.record_evaluation(evaluation)
    read = read_ledger(path)
    assert read.meta == {"bundle_hash": "abc"}
    assert read.ticks == [tick(), tick(10)]
    assert read.decisions == [fire]
    assert read.updates == [update("bb")]
    assert read.evaluations == [evaluation]
    assert read.sessions == sessions
    assert read.levels == [levels]


def test_it_can_be_read_while_it_is_written(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.record(tick())
        assert read_ledger(path).ticks == [tick()]
        ledger.record(tick(10))
        assert len(read_ledger(path).ticks) == 2


def test_a_later_writer_goes_on_where_the_last_one_stopped(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        assert (ledger.frames(), ledger.current_head()) == (0, None)
        ledger.record(tick(), [], [update("bb"), update("bb", kept=False)])
    with LedgerWriter(path) as ledger:
        assert (ledger.frames(), ledger.current_head()) == (10, "bb")


def test_the_last_levels_of_a_head_are_found(path: Path) -> None:
    def levels(head: str, frame: int) -> Levels:
        return Levels(frame, head, {}, (0.1, 0.2, 0.3), (0.1, 0.2, 0.3))

    with LedgerWriter(path) as ledger:
        for frame, head in enumerate(("aa", "bb", "aa", "cc")):
            ledger.record(tick(10 * frame), levels=levels(head, frame))
        assert ledger.current_levels("aa") == levels("aa", 2)
        assert ledger.current_levels("dd") is None


def test_a_ledger_belongs_to_one_bundle(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.identify("bundle_hash", "abc")
        ledger.identify("bundle_hash", "abc")
        with pytest.raises(RunDirectoryError, match="bundle_hash abc"):
            ledger.identify("bundle_hash", "def")


def test_a_tick_is_recorded_whole_or_not_at_all(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        broken = Decision(10, "fire", object(), ())  # type: ignore[arg-type]
        with pytest.raises(sqlite3.ProgrammingError):
            ledger.record(tick(), [broken])
        assert read_ledger(path).ticks == []
        ledger.record(tick())
    assert read_ledger(path).ticks == [tick()]


@pytest.mark.parametrize("statement", ["DELETE FROM ticks", "UPDATE ticks SET n = 1"])
def test_the_database_itself_refuses_to_change_history(path: Path, statement: str) -> None:
    with LedgerWriter(path) as ledger:
        ledger.record(tick())
    database = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(statement)
    database.close()


def test_a_second_writer_is_turned_away(path: Path) -> None:
    with LedgerWriter(path), pytest.raises(RunDirectoryError, match="in use"):
        LedgerWriter(path)
    LedgerWriter(path).close()


def _write_until_killed(path: Path, sender: Any) -> None:
    ledger = LedgerWriter(path)
    for number in range(1000):
        ledger.record(tick(10 * number), [Decision(10 * number, "fire", "why", ())])
        sender.send(number)


@pytest.mark.parametrize("after", [0, 3, 17])
def test_a_killed_writer_loses_no_tick_it_had_finished(path: Path, after: int) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    writer = context.Process(target=_write_until_killed, args=(path, sender))
    writer.start()
    while receiver.recv() < after:
        pass
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    with LedgerWriter(path) as ledger:
        ticks = ledger.frames() // 10
    read = read_ledger(path)
    assert ticks > after
    assert len(read.ticks) == len(read.decisions) == ticks


def test_a_missing_ledger_is_named(path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="does not exist"):
        read_ledger(path)


def test_a_foreign_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE photos (name)")
    database.commit()
    database.close()
    before = path.read_bytes()
    for open_it in (read_ledger, LedgerWriter):
        with pytest.raises(RunDirectoryError, match="no ledger"):
            open_it(path)
    assert path.read_bytes() == before


def test_another_schema_is_named(path: Path) -> None:
    LedgerWriter(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 7")
    database.close()
    for open_it in (read_ledger, LedgerWriter):
        with pytest.raises(RunDirectoryError, match=r"schema 7.*schema 1"):
            open_it(path)


@pytest.mark.parametrize("damage", ["text", "truncated", "overwritten"])
def test_a_damaged_ledger_is_an_error_and_never_a_traceback(path: Path, damage: str) -> None:
    with LedgerWriter(path) as ledger:
        for number in range(50):
            ledger.record(tick(10 * number))
    content = path.read_bytes()
    if damage == "text":
        path.write_bytes(b"dear diary\n" * 500)
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(RunDirectoryError, match="damaged"):
        read_ledger(path)
    with pytest.raises(RunDirectoryError, match="damaged"), LedgerWriter(path) as ledger:
        ledger.frames()


def test_after_a_crash_every_page_is_checked_before_anything_is_added(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        for number in range(2000):
            ledger.record(tick(10 * number))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with LedgerWriter(path) as ledger:  # closed cleanly: the pages it needs are intact
        assert ledger.frames() == 20000
    path.with_name(f"{path.name}-wal").touch()
    with pytest.raises(RunDirectoryError, match="damaged"):
        LedgerWriter(path)


def test_a_ledger_that_lacks_a_table_is_damaged(path: Path) -> None:
    LedgerWriter(path).close()
    database = sqlite3.connect(path)
    database.execute("DROP TABLE sessions")
    database.close()
    for open_it in (read_ledger, LedgerWriter):
        with pytest.raises(RunDirectoryError, match="no table sessions"):
            open_it(path)


def test_a_ledger_is_read_where_nothing_can_be_written(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.record(tick())
    # A link that leads nowhere in place of the shared-memory file stops SQLite even as root.
    path.with_name(f"{path.name}-shm").symlink_to("nowhere")
    path.parent.chmod(0o555)
    try:
        assert read_ledger(path).ticks == [tick()]
        path.parent.chmod(0o755)
        path.with_name(f"{path.name}-wal").write_bytes(b"not folded in")
        path.parent.chmod(0o555)
        with pytest.raises(StorageError):
            read_ledger(path)
    finally:
        path.parent.chmod(0o755)


def test_a_creation_that_was_cut_off_is_begun_again(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with LedgerWriter(path) as ledger:
        ledger.record(tick())
    assert len(read_ledger(path).ticks) == 1


def test_a_full_disk_is_a_storage_error_and_keeps_what_was_there(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.record(tick())
        pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
        ledger._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="full"):
            for number in range(1, 1000):
                ledger.record(tick(10 * number), [Decision(0, "fire", "x" * 1000, ())])
    ticks = read_ledger(path).ticks
    assert [each.start for each in ticks] == [10 * number for number in range(len(ticks))]


def test_a_copy_of_the_files_is_a_ledger_too(path: Path, tmp_path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.record(tick())
        shutil.copytree(path.parent, tmp_path / "copy")
    assert read_ledger(tmp_path / "copy" / LEDGER_FILE).ticks == [tick()]
