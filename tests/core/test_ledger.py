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
from tests.core import ledgers


def tick(start: int = 0) -> Tick:
    windows = {"cat": ClassEmbarrassment(1.5, None, 3)}
    domains = {"0": 9, "3": 1}
    return ledgers.tick(start, scores={"cat": (4, 3)}, embarrassment=windows, domains=domains)


def session(frame: int) -> Session:
    source = ("digits:test?labels=0.1", "f" * 64, "a note")
    return Session(
        frame, "2026-01-02T03:04:05+00:00", *source, "rapl:0", "measured", {"numpy": "2"}
    )


def update(network: str, kept: bool = True, frame: int = 10) -> Update:
    return ledgers.update(network_after=network, kept=kept, frame=frame)


def rollback(network: str, frame: int) -> Decision:
    return Decision(frame, "rollback", "by hand", (), network)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / LEDGER_FILE


def test_what_is_recorded_is_read_in_order(path: Path) -> None:
    fire = Decision(10, "fire", "cat: E 1.9 over 40 labels, was 0.4", ("cat",))
    evaluation = Evaluation("before", "shifted", 100, 41)
    sessions = [session(0), session(10)]
    level = (0.2, 0.3, 0.1)
    levels = [Levels(10, "bb", domain, {"cat": level}, level, level) for domain in (0, 3)]
    balances = ledgers.balances(10)
    with LedgerWriter(path) as ledger:
        ledger.identify("bundle_hash", "abc")
        ledger.record_session(sessions[0])
        ledger.record(tick(), [fire], [update("bb")], levels, balances)
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
    assert read.levels == levels
    assert read.balances == [balances]


def test_it_can_be_read_while_it_is_written(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.record(tick())
        assert read_ledger(path).ticks == [tick()]
        ledger.record(tick(10))
        assert len(read_ledger(path).ticks) == 2


def test_a_later_writer_goes_on_where_the_last_one_stopped(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        assert (ledger.frames(), ledger.current_network()) == (0, None)
        ledger.record(tick(), [], [update("bb"), update("cc", kept=False)])
    with LedgerWriter(path) as ledger:
        assert (ledger.frames(), ledger.current_network()) == (10, "bb")
        assert ledger.updates() == [update("bb"), update("cc", kept=False)]


def test_a_row_that_no_writer_writes_is_damage(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.record(tick(), updates=[update("bb")])
        row = "INSERT INTO updates SELECT 2, 1, rung, domain, 'no JSON', {} FROM updates"
        columns = [name for (_, name, *_) in ledger._database.execute("PRAGMA table_info(updates)")]
        ledger._database.execute(row.format(", ".join(columns[5:])))
        with pytest.raises(RunDirectoryError, match="damaged"):
            ledger.updates()
    with pytest.raises(RunDirectoryError, match="damaged"):
        read_ledger(path)


def test_a_rollback_holds_until_the_next_kept_update(path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.record(tick(), [rollback("aa", 0)])
        assert ledger.current_network() == "aa"
        ledger.record(tick(10), [], [update("bb", frame=20), update("cc", frame=20)])
        assert ledger.current_network() == "cc"
        ledger.record(tick(20), [rollback("dd", 20)])  # found at a start, after that update
        assert ledger.current_network() == "dd"
        ledger.record(tick(30), [], [update("ee", kept=False, frame=40)])
        assert ledger.current_network() == "dd"
        ledger.record(tick(40), [], [update("ff", frame=50)])
        assert ledger.current_network() == "ff"


def test_the_last_levels_of_a_network_are_found_by_domain(path: Path) -> None:
    def levels(network: str, domain: int, frame: int) -> Levels:
        return Levels(frame, network, domain, {}, (0.1, 0.2, 0.3), (0.1, 0.2, 0.3))

    with LedgerWriter(path) as ledger:
        for frame, network in enumerate(("aa", "bb", "aa", "cc")):
            rows = [levels(network, domain, frame) for domain in (0, 2)]
            ledger.record(tick(10 * frame), levels=rows)
        assert ledger.current_levels("aa", 0) == levels("aa", 0, 2)
        assert ledger.current_levels("aa", 2) == levels("aa", 2, 2)
        assert ledger.current_levels("aa", 1) is None
        assert ledger.current_levels("dd", 0) is None


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


@pytest.mark.parametrize("schema", [1, 7])
def test_another_schema_is_named_and_left_alone(path: Path, schema: int) -> None:
    LedgerWriter(path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {schema}")
    database.close()
    before = path.read_bytes()
    for open_it in (read_ledger, LedgerWriter):
        with pytest.raises(RunDirectoryError, match=rf"schema {schema}.*schema 2") as refusal:
            open_it(path)
        assert "choose another directory" in str(refusal.value)
    assert path.read_bytes() == before


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


def test_what_a_full_disk_could_not_take_is_written_once_there_is_room(path: Path) -> None:
    """In its order, with all that belongs to it, and once."""
    with LedgerWriter(path) as ledger:
        pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
        ledger._database.execute(f"PRAGMA max_page_count = {pages}")
        failed = 0
        for number in range(40):
            try:
                ledger.record(tick(10 * number), [Decision(number, "fire", "x" * 1000, ())])
            except StorageError:
                failed += 1
        assert failed > 0
        assert len(read_ledger(path).ticks) == 40 - failed
        ledger._database.execute(f"PRAGMA max_page_count = {2**30}")
        ledger.record(tick(400), [Decision(40, "fire", "the last", ())])
    found = read_ledger(path)
    assert [each.start for each in found.ticks] == [10 * number for number in range(41)]
    assert [each.frame for each in found.decisions] == list(range(41))


def test_a_record_that_is_none_is_not_kept(path: Path) -> None:
    """Only a disk gets better by waiting."""
    with LedgerWriter(path) as ledger:
        with pytest.raises(sqlite3.IntegrityError):
            ledger.record(ledgers.tick(segment=None))
        ledger.record(tick(10))
    assert read_ledger(path).ticks == [tick(10)]


def test_a_copy_of_the_files_is_a_ledger_too(path: Path, tmp_path: Path) -> None:
    with LedgerWriter(path) as ledger:
        ledger.record(tick())
        shutil.copytree(path.parent, tmp_path / "copy")
    assert read_ledger(tmp_path / "copy" / LEDGER_FILE).ticks == [tick()]
