"""Slots: commits, confirmations, the way back, and what is left after damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.core.errors import BundleError, RunDirectoryError
from sel_edge.runtime.network import Network
from sel_edge.runtime.slot_book import KEEP_DELTAS, SlotBook
from sel_edge.runtime.slot_files import SlotFiles
from sel_edge.runtime.slot_history import History, read_history
from sel_edge.runtime.slot_record import parse_record
from sel_edge.runtime.slots import Slots, open_slots
from tests.runtime.trainable import bundle
from tests.runtime.updates import own, updated


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return open_key(tmp_path_factory.mktemp("keys") / "key.pem")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "slots"


class Device:
    """A device that can be switched off and on again, with random updates at hand."""

    def __init__(self, place: Path, key: PrivateKey, seed: int = 0, updates: int = 32) -> None:
        self.place, self.key, self.updates = place, key, updates
        self.rng = np.random.default_rng(seed)
        self.slots = self._open()

    def _open(self) -> Slots:
        return Slots(self.place, bundle(), self.key, self.updates)

    def restart(self) -> Slots:
        self.slots.close()
        self.slots = self._open()
        return self.slots

    def commit(self, confirm: bool = True) -> Network:
        network = updated(self.slots.current(), self.rng)
        while network.hash == self.slots.current().hash:
            network = updated(network, self.rng)
        self.slots.commit(network, frame=0)
        if confirm:
            self.slots.confirm()
        return network

    @property
    def hash(self) -> str:
        return self.slots.current().hash


@pytest.fixture
def device(place: Path, key: PrivateKey):
    device = Device(place, key)
    yield device
    device.slots.close()


def deltas(place: Path) -> list[Path]:
    return sorted((place / "deltas").iterdir())


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


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


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_damaged_record_leaves_the_other_slot(device: Device, place: Path) -> None:
    first, second = device.commit(), device.commit()
    damage(place / "b.slot")
    assert device.restart().current().hash == first.hash
    assert "slot B is damaged" in device.slots.notes[0]
    assert device.slots.notes[-1] == f"The network in use is {first.hash}."
    third = device.commit()
    assert device.restart().current().hash == third.hash and device.slots.notes == ()
    entries = device.slots.history().entries
    assert [entry.counter for entry in entries] == [1, 2, 3]
    assert device.slots.rollback(second.hash).hash == second.hash


@pytest.mark.parametrize("kind", ["flip", "cut", "empty", "missing"])
def test_a_damaged_delta_leaves_its_parent(device: Device, place: Path, kind: str) -> None:
    networks = [device.commit() for _ in range(3)]
    path = place / "deltas" / f"{device.slots.history().entries[-1].delta}.delta"
    if kind == "flip":
        damage(path)
    elif kind == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 100 if kind == "cut" else 0])
    assert device.restart().current().hash == networks[1].hash
    assert "cannot be used as a whole" in device.slots.notes[0]
    fourth = device.commit()
    assert device.restart().current().hash == fourth.hash and device.slots.notes == ()


def test_a_damaged_delta_that_both_slots_need_leaves_what_is_before_it(
    device: Device, place: Path
) -> None:
    networks = [device.commit() for _ in range(4)]
    damage(place / "deltas" / f"{device.slots.history().entries[1].delta}.delta")
    assert device.restart().current().hash == networks[0].hash
    assert len(device.slots.notes) == 3
    later = device.commit()
    assert device.restart().current().hash == later.hash and device.slots.notes == ()


def test_when_everything_is_damaged_the_bundle_is_left(device: Device, place: Path) -> None:
    device.commit()
    device.commit()
    for path in (place / "a.slot", place / "b.slot", *deltas(place)):
        damage(path)
    assert device.restart().current().hash == own().hash and len(device.slots.notes) == 3
    later = device.commit()
    assert device.restart().current().hash == later.hash


def test_deltas_of_another_key_are_not_used(device: Device, place: Path, tmp_path: Path) -> None:
    device.commit()
    device.key = open_key(tmp_path / "other.pem")
    assert device.restart().current().hash == own().hash
    assert "signed by the unknown key" in device.slots.notes[0]


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


@given(st.lists(st.sampled_from(["commit", "confirm", "rollback", "restart"]), max_size=12))
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
        elif action == "rollback" and current != own().hash:
            current = confirmed = device.slots.rollback().hash
        elif action == "restart":
            current, tried = (confirmed, False) if tried else (current, current != confirmed)
            device.restart()
        assert device.hash == current
        assert device.slots.pending == (current != confirmed)
    device.slots.close()
