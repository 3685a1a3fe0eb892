"""The power is cut after every operation on the disk, and unsynced writes are lost or torn."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.runtime.network import Network
from sel_edge.runtime.slots import Slots, open_slots
from tests.powercut.disk import KEPT, LOST, OUTCOMES, Disk, PowerCutError, copy_tree
from tests.runtime.trainable import bundle
from tests.runtime.updates import own
from tools.powercut_slots import changed

Action = Callable[[Slots], None]


def walk(count: int) -> list[Network]:
    rng, networks = np.random.default_rng(0), [own()]
    while len(networks) <= count:
        networks.append(changed(networks[-1], rng))
    return networks


NETWORKS = walk(6)
HASHES = [network.hash for network in NETWORKS]


def commit(number: int) -> Action:
    return lambda slots: (slots.commit(NETWORKS[number], frame=0), None)[1]


def confirm(slots: Slots) -> None:
    slots.confirm()


def rollback(number: int) -> Action:
    return lambda slots: (slots.rollback(HASHES[number]), None)[1]


def nothing(slots: Slots) -> None:
    """A start alone, which marks a pending slot."""


# What is done before, what the power is cut in, and which networks may be in use afterwards. The
# start before an action is the second use of a pending network; the one after the cut gives it up.
SCENES = {
    "first commit": ([], commit(1), {0, 1}),
    "first confirmation": ([commit(1)], confirm, {0, 1}),
    "commit": ([commit(1), confirm], commit(2), {1, 2}),
    "confirmation": ([commit(1), confirm, commit(2)], confirm, {1, 2}),
    "commit on a pending one": ([commit(1), confirm, commit(2)], commit(3), {1, 2, 3}),
    "rollback": ([commit(1), confirm, commit(2), confirm], rollback(1), {2, 1}),
    "rollback of a pending one": ([commit(1), confirm, commit(2)], rollback(1), {2, 1}),
    "start with a pending one": ([commit(1), confirm, commit(2)], nothing, {1, 2}),
    "fold": ([commit(1), confirm, commit(2), confirm], commit(3), {2, 3}),
    "commit after a fold": (
        [commit(1), confirm, commit(2), confirm, commit(3), confirm],
        commit(4),
        {3, 4},
    ),
}


@pytest.fixture(autouse=True)
def only_the_simulated_disk_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return open_key(tmp_path_factory.mktemp("keys") / "key.pem")


@pytest.fixture(scope="module", params=SCENES)
def scene(
    request: pytest.FixtureRequest, key: PrivateKey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Action, set[str]]]:
    before, action, allowed = SCENES[request.param]
    place = tmp_path_factory.mktemp("scene") / "state" / "slots"
    with slots_in(place, key) as slots:
        for step in before:
            step(slots)
    yield place.parent, action, {HASHES[number] for number in allowed}


def slots_in(place: Path, key: PrivateKey) -> Slots:
    return Slots(place, bundle(), key, max_updates=2)


def cut(state: Path, key: PrivateKey, action: Action, before: int | None) -> Disk:
    """Do something on a disk until the power is cut; the state's directory itself is on it."""
    disk = Disk(state)
    with disk.cut_before(before):
        try:
            with slots_in(state / "slots", key) as slots:
                action(slots)
        except PowerCutError:
            pass
    return disk


def test_whatever_the_power_cut_leaves_loads(
    scene: tuple[Path, Action, set[str]], key: PrivateKey, tmp_path: Path
) -> None:
    state, action, allowed = scene
    rng = np.random.default_rng(0)
    operations = cut(copy_tree(state, tmp_path / "whole"), key, action, None).operations
    assert operations > 2
    for before in range(operations + 1):
        disk = cut(copy_tree(state, tmp_path / f"cut-{before}"), key, action, before)
        for number, outcome in enumerate([*OUTCOMES, *["mixed"] * 2]):
            left = tmp_path / f"left-{before}-{number}"
            disk.survive(left, outcome, rng)
            with slots_in(left / "slots", key) as slots:
                assert slots.current().hash in allowed, (before, outcome, slots.notes)
                assert all("given up" in note for note in slots.notes[:-1])
                if before == operations:
                    assert slots.notes == () or action is nothing
                slots.confirm()
            with slots_in(left / "slots", key) as slots:
                assert slots.current().hash in allowed and slots.notes == ()
                commit(5)(slots)
                slots.confirm()
                assert slots.rollback().hash in allowed


def test_a_finished_action_is_on_the_disk(
    scene: tuple[Path, Action, set[str]], key: PrivateKey, tmp_path: Path
) -> None:
    state, action, _ = scene
    disk = cut(copy_tree(state, tmp_path / "state"), key, action, None)
    for outcome in (LOST, KEPT):
        disk.survive(tmp_path / outcome, outcome, np.random.default_rng(0))
    found = [slots_in(tmp_path / outcome / "slots", key) for outcome in (LOST, KEPT)]
    assert found[0].current().hash == found[1].current().hash
    for slots in found:
        slots.close()


def test_the_first_start_of_a_device_may_be_cut_anywhere(tmp_path: Path) -> None:
    """The key is made, and is whole or not there."""
    operations, before = None, 0
    while operations is None or before <= operations:
        state = tmp_path / f"state-{before}"
        state.mkdir()
        disk = Disk(state)
        with disk.cut_before(before):
            try:
                open_slots(state, bundle()).close()
                operations = disk.operations
            except PowerCutError:
                pass
        for outcome in OUTCOMES:
            left = tmp_path / f"left-{before}-{outcome}"
            disk.survive(left, outcome, np.random.default_rng(before))
            with open_slots(left, bundle()) as slots:
                commit(1)(slots)
            with open_slots(left, bundle()) as slots:
                assert slots.current().hash == HASHES[1]
        before += 1


def test_the_disk_notices_a_write_that_is_not_synced(tmp_path: Path) -> None:
    """The test's own test: writing in place, or renaming without a sync, is caught."""
    root = tmp_path / "disk"
    root.mkdir()
    (root / "file").write_bytes(b"old")
    disk = Disk(root)
    with disk.cut_before(None):
        (root / "file").write_bytes(b"new!")
        (root / "aside").write_bytes(b"new!")
        (root / "aside").replace(root / "other")
    seen = set()
    for seed in range(40):
        left = tmp_path / f"left-{seed}"
        disk.survive(left, "mixed", np.random.default_rng(seed))
        seen.add(tuple(sorted((path.name, path.read_bytes()) for path in left.iterdir())))
    disk.survive(tmp_path / "lost", LOST, np.random.default_rng(0))
    assert [path.name for path in (tmp_path / "lost").iterdir()] == ["file"]
    assert (tmp_path / "lost" / "file").read_bytes() == b"old"
    assert len(seen) > 5
