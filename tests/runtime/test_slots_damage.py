"""Slots after damage: whatever is left of them is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from sel_edge.bundle.keys import open_key
from tests.runtime.slot_device import Device, damage, deltas, device, key, place
from tests.runtime.updates import own

__all__ = ["device", "key", "place"]


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
