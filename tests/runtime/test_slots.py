"""Slots: commits, confirmations and the way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.keys import PrivateKey
from sel_edge.core.errors import BundleError, RunDirectoryError, StorageError
from sel_edge.runtime.slot_book import KEEP_DELTAS, SlotBook
from sel_edge.runtime.slot_files import SlotFiles
from sel_edge.runtime.slot_history import History, read_history
from sel_edge.runtime.slot_record import parse_record
from sel_edge.runtime.slots import Slots, open_slots
from tests.runtime.slot_device import Device, deltas, device, key, place
from tests.runtime.trainable import bundle
from tests.runtime.updates import own, updated

__all__ = ["device", "key", "place"]


def test_a_new_device_uses_the_bundles_network_and_writes_nothing(device: Device) -> None:
    assert device.hash == own().hash and not device.slots.pending
    assert device.slots.flash_writes == 0 and device.slots.notes == ()
    assert device.restart().history().entries == ()


def test_what_was_committed_is_used_at_once_and_after_a_restart(device: Device) -> None:
    network = device.commit()
    assert device.slots.current() is network and not device.slots.pending
    assert device.restart().current().hash == network.hash
    assert device.slots.notes == ()


def test_a_commit_says_what_changed_and_is_counted(device: Device, place: Path) -> None:
    before = device.slots.current()
    network = updated(before, np.random.default_rng(5))
    delta = device.slots.commit(network, frame=77)
    assert (delta.parent, delta.new, delta.frame) == (before.hash, network.hash, 77)
    written = sum(path.stat().st_size for path in (*deltas(place), place / "a.slot"))
    assert (device.slots.flash_writes, device.slots.flash_bytes) == (2, written)
    device.slots.confirm()
    assert device.slots.flash_writes == 3
    device.slots.confirm()
    assert device.slots.flash_writes == 3


def test_a_pending_network_gets_one_more_start_and_no_third(device: Device) -> None:
    good = device.commit()
    bad = device.commit(confirm=False)
    assert device.slots.pending
    assert device.restart().current().hash == bad.hash and device.slots.pending
    assert device.restart().current().hash == good.hash and not device.slots.pending
    assert "was given up" in device.slots.notes[0]
    assert device.restart().current().hash == good.hash and device.slots.notes == ()


def test_a_pending_network_that_is_confirmed_after_a_restart_stays(device: Device) -> None:
    network = device.commit(confirm=False)
    device.restart().confirm()
    for _ in range(3):
        assert device.restart().current().hash == network.hash


def test_starts_that_asked_it_for_nothing_are_not_held_against_it(device: Device) -> None:
    good = device.commit()
    new = device.commit(confirm=False)
    for _ in range(3):
        assert device.restart().current().hash == new.hash and device.slots.pending
        device.slots.spare()
        assert device.slots.notes == ()
    assert device.restart().current().hash == new.hash
    assert device.restart().current().hash == good.hash  # of this start nobody said anything


def test_there_is_nothing_to_spare_where_nothing_is_tried(device: Device, place: Path) -> None:
    device.slots.spare()
    network = device.commit(confirm=False)
    before = (place / "a.slot").read_bytes()
    device.slots.spare()
    assert (place / "a.slot").read_bytes() == before and device.slots.pending
    device.slots.confirm()
    device.slots.spare()
    assert not device.slots.pending and device.slots.current() is network


def test_it_is_known_when_the_network_in_use_was_made(place: Path, key: PrivateKey) -> None:
    device = Device(place, key, updates=3)
    assert device.slots.made_at == 0
    for frame in (10, 20, 30, 40, 50):
        device.commit(frame=frame)
        assert device.slots.made_at == frame
        assert device.restart().made_at == frame
    device.slots.rollback()
    assert device.slots.made_at == 40
    device.slots.rollback("bundle")
    assert device.slots.made_at == 0
    device.slots.close()


def test_the_first_update_can_be_given_up_as_well(device: Device) -> None:
    device.commit(confirm=False)
    device.restart()
    assert device.restart().current().hash == own().hash
    later = device.commit()
    assert device.restart().current().hash == later.hash


def test_pending_updates_on_pending_ones_fall_together(device: Device) -> None:
    good = device.commit()
    for _ in range(3):
        device.commit(confirm=False)
    device.restart()
    assert device.restart().current().hash == good.hash


def test_counters_rise_even_over_what_was_given_up(device: Device) -> None:
    device.commit()
    device.commit(confirm=False)
    device.restart()
    device.restart()
    device.commit()
    counters = [entry.counter for entry in device.slots.history().entries]
    assert counters == [1, 2, 3]


def test_committing_what_is_in_use_is_refused(device: Device) -> None:
    with pytest.raises(ValueError, match="is the one in use"):
        device.slots.commit(own(), frame=0)


def test_rollback_undoes_any_number_and_can_be_undone(device: Device) -> None:
    networks = [own(), *(device.commit() for _ in range(5))]
    assert device.slots.rollback().hash == networks[4].hash
    assert device.restart().current().hash == networks[4].hash
    for target in (2, 5, 1, 0, 3):
        found = device.slots.rollback(networks[target].hash)
        assert found.hash == networks[target].hash and not device.slots.pending
        assert device.restart().current().hash == found.hash
    assert device.slots.rollback("bundle").hash == own().hash
    with pytest.raises(BundleError, match="Nothing is left to undo"):
        device.slots.rollback()
    assert device.slots.rollback(networks[5].hash[:8]).hash == networks[5].hash


def test_rollback_drops_a_pending_network(device: Device) -> None:
    good = device.commit()
    device.commit(confirm=False)
    device.slots.rollback(good.hash)
    assert device.restart().current().hash == good.hash and not device.slots.pending


@pytest.mark.parametrize("to", ["", "1234567", "00" * 32, "no hash at all"])
def test_rollback_to_an_unknown_network_is_refused(device: Device, to: str) -> None:
    network = device.commit()
    with pytest.raises(BundleError, match=r"names \d networks"):
        device.slots.rollback(to)
    assert device.slots.current() is network


def test_history_tells_what_is_in_use(device: Device, place: Path, key: PrivateKey) -> None:
    networks = [device.commit() for _ in range(4)]
    device.slots.rollback(networks[1].hash)
    history = device.slots.history()
    assert [entry.state for entry in history.entries] == ["kept", "current", "undone", "undone"]
    assert [entry.network for entry in history.entries] == [n.hash for n in networks]
    assert [entry.parent for entry in history.entries][1:] == [n.hash for n in networks[:3]]
    assert (history.current, history.unchanged) == (networks[1].hash, own().hash)
    assert history.confirmed and history.base == bundle().manifest.bundle_hash
    sizes = {path.stem: path.stat().st_size for path in deltas(place)}
    assert {entry.delta: entry.bytes for entry in history.entries} == sizes
    assert read_history(place, {key.public}) == history
    device.commit(confirm=False)
    assert not read_history(place, {key.public}).confirmed


def test_the_history_of_nothing(place: Path, key: PrivateKey) -> None:
    assert read_history(place, {key.public}) == History(None, None, None, True, (), ())


def test_reading_the_history_changes_nothing(device: Device, place: Path, key: PrivateKey) -> None:
    device.commit(confirm=False)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    read_history(place, {key.public})
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_long_chain_is_folded_and_nothing_is_lost(place: Path, key: PrivateKey) -> None:
    device = Device(place, key, updates=4)
    networks = [own(), *(device.commit() for _ in range(14))]
    record = parse_record((place / "a.slot").read_bytes())
    assert len(record.chain) <= 4
    assert device.restart().current().hash == networks[-1].hash
    for target in (3, 4, 5, 9, 14, 1):
        assert device.slots.rollback(networks[target].hash).hash == networks[target].hash
        assert device.restart().current().hash == networks[target].hash
    device.slots.close()


def test_updates_that_end_at_the_bundles_network_are_folded_to_nothing(
    place: Path, key: PrivateKey
) -> None:
    device = Device(place, key, updates=2)
    changed = updated(own(), np.random.default_rng(3))
    for _ in range(3):
        for network in (changed, own()):
            device.slots.commit(network, frame=0)
            device.slots.confirm()
            assert device.restart().current().hash == network.hash
    device.slots.close()


def test_files_are_bounded_and_the_newest_can_be_gone_back_to(place: Path, key: PrivateKey) -> None:
    device = Device(place, key)
    networks = [device.commit() for _ in range(KEEP_DELTAS + 20)]
    assert len(deltas(place)) <= KEEP_DELTAS
    for target in networks[-20:]:
        assert device.slots.rollback(target.hash).hash == target.hash
    device.slots.close()


def test_commits_that_are_cut_off_before_their_record_leave_nothing(
    device: Device, place: Path
) -> None:
    """A device that fails in every commit must not fill its flash."""
    networks = [device.commit() for _ in range(3)]
    device.slots.rollback(networks[0].hash)
    kept = deltas(place)
    for _ in range(5):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SlotFiles, "write_record", interrupted)
            with pytest.raises(KeyboardInterrupt):
                device.commit()
        assert len(deltas(place)) == len(kept) + 1
        assert device.restart().current().hash == networks[0].hash
        assert deltas(place) == kept


def test_a_commit_that_cannot_clear_up_behind_itself_is_none_the_less_one(device: Device) -> None:
    def fail(*_: object) -> None:
        raise StorageError("The disk fails.", "A sound one is expected.", "Replace it.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SlotFiles, "remove", fail)
        first = device.commit()
        assert device.slots.current() is first
        device.slots.rollback("bundle")
        second = device.commit()
    assert device.restart().current().hash == second.hash and device.slots.notes == ()
    assert device.slots.rollback(first.hash).hash == first.hash


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_interrupted_writes_left_is_removed(device: Device, place: Path) -> None:
    device.commit()
    for folder in (place, place / "deltas"):
        (folder / ".a.slot.x1y2z3").write_bytes(b"half")
    device.restart()
    assert [path.name for path in place.iterdir() if path.name.startswith(".")] == [".lock"]
    assert all(not path.name.startswith(".") for path in deltas(place))


def test_two_processes_cannot_hold_the_same_slots(
    device: Device, place: Path, key: PrivateKey
) -> None:
    with pytest.raises(RunDirectoryError, match="in use by another process"):
        Slots(place, bundle(), key)
    device.slots.close()
    with Slots(place, bundle(), key) as slots, pytest.raises(RunDirectoryError):
        SlotBook(place, {key.public})
    device.slots = Slots(place, bundle(), key)
    assert slots.current().hash == own().hash


def test_slots_of_another_bundle_are_refused(device: Device, place: Path, key: PrivateKey) -> None:
    device.commit()
    device.slots.close()
    with pytest.raises(RunDirectoryError, match="belong to the bundle"):
        SlotBook(place, {key.public}, "00" * 32)
    device.slots = Slots(place, bundle(), key)


def test_a_state_directory_gets_its_own_key(tmp_path: Path) -> None:
    with open_slots(tmp_path / "state", bundle()) as slots:
        network = updated(own(), np.random.default_rng(1))
        slots.commit(network, frame=0)
    with open_slots(tmp_path / "state", bundle()) as slots:
        assert slots.current().hash == network.hash
    found = {path.name for path in (tmp_path / "state").iterdir()}
    assert found == {"key.pem", "key.pub.pem", "slots"}


@given(
    st.lists(st.sampled_from(["commit", "confirm", "rollback", "restart", "spare"]), max_size=12)
)
@settings(max_examples=25)
def test_slots_do_what_a_model_of_them_does(
    key: PrivateKey, tmp_path_factory: pytest.TempPathFactory, actions: list[str]
) -> None:
    """Differential: against the rules in five lines of Python."""
    device = Device(tmp_path_factory.mktemp("model") / "slots", key, updates=3)
    current = confirmed = own().hash
    tried = False
    for action in actions:
        if action == "commit":
            current, tried = device.commit(confirm=False).hash, False
        elif action == "confirm":
            device.slots.confirm()
            confirmed = current
        elif action == "spare":
            device.slots.spare()
            tried = False
        elif action == "rollback" and current != own().hash:
            current = confirmed = device.slots.rollback().hash
        elif action == "restart":
            current, tried = (confirmed, False) if tried else (current, current != confirmed)
            device.restart()
        assert device.hash == current
        assert device.slots.pending == (current != confirmed)
    device.slots.close()
