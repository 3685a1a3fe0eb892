"""Rollback, reload, restarts and trouble: the device goes on, and says what happened."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.keys import load_public_key, open_key, public_path
from sel_edge.bundle.signature import sign_bundle
from sel_edge.core.errors import (
    BundleError,
    ConfigError,
    DataError,
    RunDirectoryError,
    SelEdgeError,
)
from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from sel_edge.runtime.slot_history import read_history
from sel_edge.runtime.slots import KEY_FILE, SLOTS_DIRECTORY
from sel_edge.serve import residence, trouble
from sel_edge.serve.device import BusyError
from sel_edge.serve.live import LiveDevice
from sel_edge.serve.residence import Settings
from sel_edge.serve.sources.http import HttpSource
from tests.runtime.conftest import Network, build_bundle
from tests.runtime.test_loop_storage import full_ledger
from tests.serve.devices import WAIT_S, Played, living, pictures, settings_for, until
from tests.simulate.gratings import make_bundle


@pytest.fixture(scope="module")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Another bundle for the same frames."""
    return build_bundle(tmp_path_factory.mktemp("other") / "other", Network(), held_out=False)


@pytest.fixture
def settings(gratings: Bundle, tmp_path: Path) -> Settings:
    """Of a link to a bundle, as a release has one."""
    link = tmp_path / "current"
    shutil.copytree(gratings.path, tmp_path / "bundle")
    link.symlink_to(tmp_path / "bundle")
    return settings_for(link, tmp_path / "state")


@pytest.fixture
def taught(settings: Settings) -> Settings:
    """Of a device that has learned."""
    frames, names = pictures(120, 8, tilted=True)
    with living(settings, Played(frames, True, names)) as device:
        until(device, lambda one: any(event.kind == "keep" for event in one.events))
        until(device, lambda one: one.flow.seen == 120)
    return settings


def answer_some(device: LiveDevice, seed: int = 9) -> list[str]:
    frames, _ = pictures(30, seed)
    return [device.submit(frame).result(WAIT_S).prediction for frame in frames]


class TestRollback:
    def test_it_goes_back_and_forward_again_without_a_restart(self, taught: Settings) -> None:
        with living(taught, "http") as device:
            learned, said = device.snapshot().network, answer_some(device)
            back = device.rollback("bundle").result(WAIT_S)
            snapshot = device.snapshot()
            assert back == snapshot.network != learned
            assert snapshot.classes == snapshot.bundle_classes
            assert "rollback" in [event.kind for event in snapshot.events]
            assert device.rollback(learned).result(WAIT_S) == learned
            assert device.snapshot().network == learned and answer_some(device) == said
        recorded = read_ledger(device.state / LEDGER_FILE).decisions
        assert [d.network for d in recorded if d.kind == "rollback"] == [back, learned]

    def test_the_last_update_is_undone_without_a_name(self, taught: Settings) -> None:
        with living(taught, "http") as device:
            trusted = {load_public_key(public_path(device.state / KEY_FILE))}
            newest = read_history(device.state / SLOTS_DIRECTORY, trusted).entries[-1]
            assert device.rollback(None).result(WAIT_S) == newest.parent

    @pytest.mark.parametrize("to", ["0123456789", "", "bundle", "../../etc", "zz" * 32])
    def test_what_is_not_there_changes_nothing(self, settings: Settings, to: str) -> None:
        with living(settings, "http") as device:
            before = device.snapshot().network
            with pytest.raises((BundleError, RunDirectoryError)):
                device.rollback(to).result(WAIT_S)
            assert answer_some(device)
            assert device.snapshot().network == before


class TestReload:
    def test_the_same_bundle_costs_nothing(self, taught: Settings) -> None:
        with living(taught, "http") as device:
            answer_some(device)
            before = device.snapshot()
            assert device.reload().result(WAIT_S) == before.bundle
            after = device.snapshot()
            assert after.embarrassment == before.embarrassment != {}

    def test_another_bundle_takes_over_in_a_directory_of_its_own(
        self, taught: Settings, other: Bundle
    ) -> None:
        with living(taught, "http") as device:
            before = device.snapshot()
            _switch(taught.bundle, other.path)
            found = device.reload().result(WAIT_S)
            snapshot = device.snapshot()
            assert found == snapshot.bundle == other.manifest.bundle_hash != before.bundle
            assert snapshot.state != before.state and device.state == Path(snapshot.state)
            assert "reload" in [event.kind for event in snapshot.events]
            answer_some(device)
        with living(taught, "http") as device:  # and still does after a restart
            assert device.snapshot().bundle == found

    def test_a_damaged_bundle_leaves_the_old_one_running(
        self, taught: Settings, tmp_path: Path
    ) -> None:
        with living(taught, "http") as device:
            network, said = device.snapshot().network, answer_some(device)
            shutil.copytree(taught.bundle, tmp_path / "damaged")
            (tmp_path / "damaged" / "manifest.json").write_text("{}")
            _switch(taught.bundle, tmp_path / "damaged")
            with pytest.raises(BundleError):
                device.reload().result(WAIT_S)
            assert answer_some(device) == said
            snapshot = device.snapshot()
            assert snapshot.network == network
            (told,) = [event for event in snapshot.events if event.kind == "error"]
            assert "Nothing was reloaded" in told.reason

    def test_a_bundle_whose_state_is_damaged_leaves_the_old_one_running(
        self, taught: Settings, other: Bundle
    ) -> None:
        """It is found out after the old one was let go, and the old one comes back."""
        with living(taught, "http") as device:
            before, said = device.snapshot(), answer_some(device)
            folder = taught.state / other.manifest.bundle_hash[:12]
            folder.mkdir()
            (folder / LEDGER_FILE).write_text("no ledger at all")
            _switch(taught.bundle, other.path)
            with pytest.raises(RunDirectoryError):
                device.reload().result(WAIT_S)
            assert answer_some(device) == said
            assert device.snapshot().bundle == before.bundle

    def test_files_that_were_exchanged_in_their_place_never_pass_for_the_old_ones(
        self, taught: Settings, other: Bundle, tmp_path: Path
    ) -> None:
        with living(taught, "http") as device:
            shutil.rmtree(tmp_path / "bundle")
            shutil.copytree(other.path, tmp_path / "bundle")
            with pytest.raises(BundleError, match="another one"):
                device.rollback("bundle").result(WAIT_S)
            assert device.reload().result(WAIT_S) == other.manifest.bundle_hash
            until(device, lambda one: one.phase == "running")
            assert answer_some(device)

    def test_a_new_budget_counts_from_then_on(self, taught: Settings, tmp_path: Path) -> None:
        budget = tmp_path / "budget.toml"
        budget.write_text("flops_per_day = 5\n")
        with living(replace(taught, budget=budget), "http") as device:
            assert [one.size for one in device.snapshot().balances] == [5]
            budget.write_text("flops_per_day = 7\n")
            device.reload().result(WAIT_S)
            assert [one.size for one in device.snapshot().balances] == [7]
            budget.write_text("flops_per_year = 7\n")
            with pytest.raises(ConfigError):
                device.reload().result(WAIT_S)
            assert [one.size for one in device.snapshot().balances] == [7]


class TestTrust:
    def test_only_signed_bundles_start_and_are_reloaded(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        key, stranger = open_key(tmp_path / "key.pem"), open_key(tmp_path / "stranger.pem")
        careful = replace(settings, trusted=frozenset({key.public}))
        with pytest.raises(BundleError, match="is not signed"):
            LiveDevice(careful, HttpSource())
        sign_bundle(settings.bundle, key)
        with living(careful, "http") as device:
            sign_bundle(settings.bundle, stranger)
            with pytest.raises(BundleError, match="was signed by"):
                device.reload().result(WAIT_S)
            assert answer_some(device)
            sign_bundle(settings.bundle, key)
            assert device.reload().result(WAIT_S) == device.snapshot().bundle


class TestRestart:
    def test_it_goes_on_with_what_it_had(self, taught: Settings) -> None:
        ledger = read_ledger(next(taught.state.iterdir()) / LEDGER_FILE)
        with living(taught, "http") as device:
            snapshot = device.snapshot()
            assert snapshot.network == ledger.updates[-1].network_after
            assert [(one.frame, one.kind, one.reason) for one in snapshot.events[:-1]] == [
                (one.frame, one.kind, one.reason) for one in ledger.decisions
            ]
            assert all(event.utc_s is None for event in snapshot.events[:-1])
            assert snapshot.events[-1].kind == "restart"
            assert snapshot.points and snapshot.points[-1].frame <= 120
            assert snapshot.flow.seen == 0 and snapshot.spent == ()
            assert device.submit(pictures(1, 1)[0][0]).result(WAIT_S).frame == 120

    def test_two_of_them_do_not_share_a_state(self, settings: Settings) -> None:
        with living(settings, "http"):
            second = LiveDevice(settings, HttpSource())
            with pytest.raises(RunDirectoryError, match="in use"):
                second.start()
            assert second.stop(WAIT_S)

    def test_signals_are_no_pictures(self, settings: Settings) -> None:
        signals = Played(pictures(1, 1)[0], True)
        signals.signal_shape = (1, 140)
        with pytest.raises(DataError, match="was made for"):
            LiveDevice(settings, signals)


class TestTrouble:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trouble, "FIRST_PAUSE_S", 0.01)
        monkeypatch.setattr(trouble, "LONGEST_PAUSE_S", 0.05)
        monkeypatch.setattr(residence, "TICKS_WAIT_S", 0.0)

    def test_with_a_full_disk_it_goes_on_answering_and_says_so(self, taught: Settings) -> None:
        with living(taught, "http") as device:
            network, good = device.snapshot().network, answer_some(device)
            full = full_ledger(device._worker._residence.runtime)
            _in_worker(device, full.__enter__)
            for seed in range(20, 200):  # until the last free page is used
                answer_some(device, seed)
                if device.snapshot().error:
                    break
            assert LEDGER_FILE in device.snapshot().error
            assert answer_some(device) == good
            snapshot = device.snapshot()
            assert snapshot.errors > 0 and snapshot.network == network
            assert snapshot.events[-1].kind == "error"
            _in_worker(device, lambda: full.__exit__(None, None, None))
            until(device, lambda one: one.error == "")
            answer_some(device)
        ticks = read_ledger(device.state / LEDGER_FILE).ticks
        assert [tick.start for tick in ticks] == sorted(tick.start for tick in ticks)

    def test_what_fails_for_long_does_not_pile_up(self, settings: Settings) -> None:
        """Nothing waits for the disk but what was tried: memory stays as it is."""
        with living(settings, "http") as device:
            runtime = device._worker._residence.runtime

            def fail(*_: object) -> None:
                raise RunDirectoryError("It is busy.", "", "Wait.")

            trouble.FIRST_PAUSE_S = trouble.LONGEST_PAUSE_S = WAIT_S
            device._worker._journal.trouble.recovered()
            record, runtime._ledger._write = runtime._ledger._write, fail
            for seed in range(10):
                answer_some(device, seed)
            assert device.snapshot().errors == 1 and device.snapshot().flow.seen == 300
            assert len(runtime._ledger._waiting) <= 3
            runtime._ledger._write = record

    def test_a_runtime_that_does_not_come_back_is_tried_again(self, taught: Settings) -> None:
        with living(taught, "http") as device:
            said, ledger = answer_some(device), device.state / LEDGER_FILE
            aside = ledger.with_name("aside")

            def hide() -> None:
                device._worker._move_out()
                ledger.rename(aside)
                ledger.write_text("no ledger at all")

            _in_worker(device, hide)
            snapshot = until(device, lambda one: one.error != "" and one.phase == "starting")
            assert LEDGER_FILE in snapshot.error
            with pytest.raises(BusyError, match="not open"):
                device.adapt().result(WAIT_S)
            ledger.unlink()
            aside.rename(ledger)
            until(device, lambda one: one.phase == "running" and one.error == "")
            assert answer_some(device) == said


def test_once_it_has_ended_everybody_is_told(settings: Settings) -> None:
    with living(settings, "http") as device:
        pass
    with pytest.raises(BusyError):
        device.submit(pictures(1, 1)[0][0])
    for asked in (device.adapt(), device.rollback(None), device.reload()):
        with pytest.raises(SelEdgeError, match="ending"):
            asked.result(WAIT_S)
    assert device.snapshot().phase == "stopping"


def _in_worker(device: LiveDevice, work: Callable[[], object]) -> None:
    """Do something in the worker's thread, to which its files belong."""
    asked = device._worker.requests.ask(work)
    device.answered()
    asked.result(WAIT_S)


def _switch(link: Path, target: Path) -> None:
    """Let a link lead elsewhere, in one step."""
    aside = link.with_name("aside")
    aside.symlink_to(target)
    aside.replace(link)
