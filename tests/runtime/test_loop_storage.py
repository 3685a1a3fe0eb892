"""A disk that is full for a while: nothing that was answered is lost, and nothing is told twice."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.core import wallet_file
from sel_edge.core.budget import Budget
from sel_edge.core.errors import StorageError
from sel_edge.core.ledger import Ledger
from sel_edge.core.wallet_file import WALLET_FILE, WalletFile
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.network import bundle_network
from sel_edge.runtime.samples.desk import SAMPLES_FILE, LabelDesk
from sel_edge.runtime.slots import SLOTS_DIRECTORY
from tests.runtime.living import NOW_S, TICK_FRAMES, Lived, life, stream

DEAF = RuntimeConfig(on=1e6)
BUDGET = Budget(flops_per_day=10**12)


@pytest.fixture
def lived(tmp_path: Path, bundle: Bundle) -> Lived:
    return Lived(tmp_path / "run", bundle, budget=BUDGET)


@pytest.fixture(scope="module")
def untroubled(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Ledger:
    """What a device tells of its life on a disk that never fails."""
    device = Lived(tmp_path_factory.mktemp("untroubled") / "run", bundle, budget=BUDGET)
    device.run(life())
    return device.ledger


@contextmanager
def full_ledger(runtime: Runtime) -> Iterator[None]:
    """The ledger cannot grow."""
    database = runtime._ledger._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    yield
    database.execute(f"PRAGMA max_page_count = {2**30}")


@contextmanager
def nothing_replaced(folder: str) -> Iterator[None]:
    """No file below a folder of this name, or of this name itself, can be replaced."""
    replace_file = os.replace

    def fail(source: Any, target: Any, **more: Any) -> None:
        if folder in Path(target).parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_file(source, target, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", fail)
        yield


def tried(runtime: Runtime, batches: Iterable[FrameBatch]) -> list[bool]:
    """Process batches, whatever happens; which of them ended in an error of the disk."""
    failed = []
    for batch in batches:
        try:
            runtime.process(batch)
            failed.append(False)
        except StorageError:
            failed.append(True)
    return failed


def learning_tick(batches: Iterable[FrameBatch], ledger: Ledger) -> int:
    """The number of the tick after which something was learned first."""
    return ledger.updates[0].frame // TICK_FRAMES - 1


class TestLedger:
    def test_what_it_could_not_take_is_told_once_there_is_room(
        self, lived: Lived, untroubled: Ledger
    ) -> None:
        """Differential: in the end it says what that of a disk without troubles says."""
        with lived.runtime() as runtime:
            batches = iter(life())
            with full_ledger(runtime):
                failed = tried(runtime, (next(batches) for _ in range(40)))
            assert sum(failed) > 10
            assert not any(tried(runtime, batches))
        assert lived.ledger == replace(untroubled, meta=lived.ledger.meta)
        assert untroubled.updates and untroubled.levels and untroubled.balances

    def test_at_the_latest_when_it_is_closed(self, lived: Lived, untroubled: Ledger) -> None:
        with lived.runtime() as runtime, full_ledger(runtime):
            assert any(tried(runtime, life()))
        assert lived.ledger == replace(untroubled, meta=lived.ledger.meta)

    def test_what_was_found_at_the_start_is_told_once(self, lived: Lived) -> None:
        lived.run(life())
        with lived.runtime() as runtime:
            runtime._slots.rollback("bundle")
        with lived.runtime() as runtime:
            with full_ledger(runtime):
                assert tried(runtime, stream(2000, 5, 0.0)).count(True) > 2
            runtime.process(next(stream(20, 5, 0.0)))
        kinds = [decision.kind for decision in lived.ledger.decisions]
        assert kinds.count("rollback") == 1

    def test_what_was_asked_for_is_told_as_well(self, lived: Lived) -> None:
        deaf = Lived(lived.path, lived.bundle, DEAF)
        with deaf.runtime() as runtime:
            for batch in stream(200, 2, 0.5, tilted=True):
                runtime.process(batch)
            before = runtime.network
            with full_ledger(runtime):
                while not any(tried(runtime, stream(20, 3, 0.0, tilted=True))):
                    pass
                with pytest.raises(StorageError):
                    runtime.carry_out(runtime.plans()[0])
            assert runtime.network is not before
        (update,) = deaf.ledger.updates
        assert update.kept and update.network_after == runtime.network.hash
        with deaf.runtime() as runtime:
            assert runtime.network.hash == update.network_after and runtime.plans() == []


class TestSlots:
    def test_the_tick_is_told_whose_update_could_not_be_stored(
        self, lived: Lived, untroubled: Ledger
    ) -> None:
        with lived.runtime() as runtime:
            batches = iter(life())
            pause = -(-RuntimeConfig().cool_down_frames // TICK_FRAMES)
            with nothing_replaced(SLOTS_DIRECTORY):
                at = learning_tick(life(), untroubled)
                failed = tried(runtime, (next(batches) for _ in range(at + pause + 1)))
            assert failed == [False] * at + [True] + [False] * (pause - 1) + [True]
            assert not any(tried(runtime, batches))
        ledger = lived.ledger
        assert ledger.ticks[: at + 1] == untroubled.ticks[: at + 1]
        assert [tick.start for tick in ledger.ticks] == [tick.start for tick in untroubled.ticks]
        assert ledger.updates[0].frame == untroubled.updates[0].frame + 2 * pause * TICK_FRAMES

    def test_what_was_decided_is_told_though_a_network_cannot_be_confirmed(
        self, lived: Lived, untroubled: Ledger
    ) -> None:
        """And it is confirmed later, as if nothing had been."""
        at = learning_tick(life(), untroubled)
        with lived.runtime() as runtime:
            batches = iter(life())
            assert not any(tried(runtime, (next(batches) for _ in range(at + 1))))
            assert runtime._slots.pending
            with nothing_replaced(SLOTS_DIRECTORY):
                assert tried(runtime, [next(batches)]) == [True]
            assert runtime._slots.pending
            assert not any(tried(runtime, batches))
        assert [t.start for t in lived.ledger.ticks] == [t.start for t in untroubled.ticks]
        assert not any(d.kind == "rollback" for d in lived.ledger.decisions)


class TestWallet:
    def test_an_update_is_told_though_the_wallet_cannot_be_saved_after_it(
        self, lived: Lived, untroubled: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file says then that all that was reserved was spent; the next tick puts it right."""
        write, failures = wallet_file.write_atomic, []

        def fail_after_reserving(path: Path, content: bytes) -> None:
            if b'"reserved":0' in content and not failures and written:
                failures.append(path)
                raise StorageError("The disk is full.", "Room is expected.", "Make some.")
            written.append(path)
            write(path, content)

        written: list[Path] = []
        monkeypatch.setattr(wallet_file, "write_atomic", fail_after_reserving)
        lived.run(life())
        assert len(failures) == 1
        assert lived.ledger == replace(untroubled, meta=lived.ledger.meta)
        wallet = WalletFile(lived.path / WALLET_FILE, BUDGET, NOW_S).wallet
        spent = sum(update.executed_flops for update in lived.ledger.updates)
        assert wallet.balances()["flops_per_day"].left == 10**12 - spent

    def test_what_cannot_be_reserved_durably_is_not_begun(
        self, lived: Lived, untroubled: Ledger
    ) -> None:
        at = learning_tick(life(), untroubled)
        with lived.runtime() as runtime:
            batches = iter(life())
            with nothing_replaced(WALLET_FILE):
                failed = tried(runtime, (next(batches) for _ in range(at + 1)))
            assert failed == [False] * at + [True]
            assert runtime.balances()["flops_per_day"].left == 10**12
            assert not any(tried(runtime, batches))
        assert [t.start for t in lived.ledger.ticks] == [t.start for t in untroubled.ticks]
        assert lived.ledger.updates[0].kept


def test_where_answers_cannot_be_taken_no_frame_was_seen(
    lived: Lived, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("The disk is full.", "Room is expected.", "Make some.")

    batches = list(stream(60, 1, 0.0))
    with lived.runtime() as runtime:
        runtime.process(batches[0])
        with LabelDesk(lived.path / SAMPLES_FILE) as desk:
            desk.answer("f3", "east")
        with monkeypatch.context() as patch:
            patch.setattr(runtime._store, "take_answers", fail)
            with pytest.raises(StorageError):
                runtime.process(batches[1])
        assert runtime.process(batches[1]).tick.start == TICK_FRAMES
    assert [tick.start for tick in lived.ledger.ticks] == [0, TICK_FRAMES]


class PowerCutError(BaseException):
    """The power fails."""


def left_by(cut: Callable[[Runtime], None], lived: Lived, place: Path) -> Lived:
    """What a process leaves that was killed while it was doing something."""
    with lived.runtime() as runtime, pytest.raises(PowerCutError):
        try:
            cut(runtime)
        finally:
            shutil.copytree(lived.path, place)
    return Lived(place, lived.bundle, lived.config, lived.budget)


def test_power_that_fails_before_the_record_proves_nothing_again(
    tmp_path: Path, bundle: Bundle
) -> None:
    """The update is stored and nobody tells of it: its labels are no proof for all that."""
    deaf = Lived(tmp_path / "run", bundle, DEAF)
    deaf.run(stream(200, 2, 0.5, tilted=True))

    def fail(*_: object) -> None:
        raise PowerCutError

    def cut(runtime: Runtime) -> None:
        vars(runtime._ledger)["record"] = fail
        runtime.carry_out(runtime.plans()[0])

    left = left_by(cut, deaf, tmp_path / "left")
    for _ in range(2):
        with left.runtime() as runtime:
            assert runtime.network.hash != bundle_network(bundle).hash
            assert left.ledger.updates == []
            assert runtime.plans() == []
            runtime.process(next(stream(20, 4, 0.0, tilted=True)))
