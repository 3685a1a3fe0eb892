"""A device with slots, and what tests of them share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.runtime.network import Network
from sel_edge.runtime.slots import Slots
from tests.runtime.trainable import bundle
from tests.runtime.updates import updated


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

    def commit(self, confirm: bool = True, frame: int = 0) -> Network:
        network = updated(self.slots.current(), self.rng)
        while network.hash == self.slots.current().hash:
            network = updated(network, self.rng)
        self.slots.commit(network, frame)
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
