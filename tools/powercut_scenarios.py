"""A small network for a board, changes of it, and what a host does, for `tools.powercut_flash`."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sel_edge.mcu.image import Image, pack_texts
from sel_edge.mcu.layer import pack_rows
from sel_edge.mcu.manifest import TO_IMAGE, Manifest, delta_manifest, rollback_manifest
from sel_edge.mcu.payload import difference
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import Running, running
from tools.small_network import CHANNELS, SIDE, grown, small_image

WIDTH = 24
CONV, HEAD = 0, 2
"""Numbers of the layers with weights."""


class Action(IntEnum):
    """As sel_action_t."""

    PUSH = 1
    PUSH_PART = 2
    GO_BACK = 3
    INSTALL = 4


@dataclass(frozen=True, eq=False)
class Step:
    """As sel_step_t: what a host does.

    Attributes:
        action: what it is.
        manifest: 128 bytes; none of an installation.
        content: payload or image.
        sent: bytes of it that are sent.
    """

    action: Action
    manifest: bytes
    content: bytes
    sent: int


def board_image(seed: int = 0) -> Image:
    """A network whose whole delta takes two chunks."""
    return small_image(seed, WIDTH)


def board_input(seed: int = 0) -> NDArray[np.uint8]:
    """One input as a board takes it, uint8 [height, width, channels]."""
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, CHANNELS), np.uint8)


def rescaled(network: Running, seed: int, channels: slice = slice(None)) -> Running:
    """Another bias in some channels of the convolution: what the `norm` rung changes."""
    rng = np.random.default_rng(seed)
    parameters = network.parameters[CONV].copy()
    parameters[channels, 0] += rng.integers(1, 5_000, len(parameters[channels]), np.int32)
    return _with(network, parameters={CONV: parameters})


def rewritten(network: Running, seed: int, layer: int, channels: slice = slice(None)) -> Running:
    """Other weights in some channels of a layer; of the last one, in those of its classes."""
    rng = np.random.default_rng((1, seed))
    rows, there = network.rows[layer].copy(), np.flatnonzero(network.rows[layer][:, 0])[channels]
    shape = (len(there), *network.image.layers[layer].row_shape)
    rows[there] = pack_rows(rng.integers(-63, 64, shape))
    return _with(network, rows={layer: rows})


def content_of(network: Running) -> bytes:
    """What sel_rig_content says of a network, from the host's point of view."""
    parts = []
    for rows, parameters in zip(network.rows, network.parameters, strict=True):
        for row, pair in zip(rows, parameters, strict=True):
            parts += [pair.astype("<i4").tobytes(), row.tobytes()]
    numbers = struct.pack("<HI", len(network.classes), network.inverse)
    return b"".join(parts) + numbers + pack_texts(network.classes)


def logits_of(network: Running) -> NDArray[np.int16]:
    """The Python reference's answer for `board_input`, int16 [K]."""
    logits: NDArray[np.int16] = infer(network, board_input()[np.newaxis]).logits[0]
    return logits


class Host:
    """A host that knows one board, and writes down what it does.

    Attributes:
        steps: all of them.
        networks: hash and network after each of them, and first of all the image alone.
    """

    def __init__(self, image: Image) -> None:
        self.image, self.steps = image, list[Step]()
        self.networks = [(image.hash, running(image))]
        self._stack = list(self.networks)
        self._counter = 0

    @property
    def network(self) -> Running:
        """In use."""
        return self.networks[-1][1]

    def push(self, network: Running) -> None:
        """Bring another network to the board."""
        manifest, payload = self._delta(network)
        self._stack.append((manifest.after, network))
        self._did(Step(Action.PUSH, manifest.to_bytes(), payload, len(payload)))

    def push_part(self, network: Running, sent: int) -> None:
        """Begin with that, and send the first bytes only."""
        manifest, payload = self._delta(network)
        self._did(Step(Action.PUSH_PART, manifest.to_bytes(), payload, min(sent, len(payload))))

    def resume(self) -> None:
        """Finish what the last step began."""
        step = self.steps[-1]
        network = self.network.apply(step.content)
        self._counter -= 1
        self.push(network)

    def go_back(self, depth: int) -> None:
        """Roll back by one network, or to the image."""
        before = self._stack[-1][0]
        self._stack = self._stack[: 1 if depth == TO_IMAGE else -1]
        self._counter += 1
        manifest = rollback_manifest(before, self._stack[-1][0], self._counter, depth)
        self._did(Step(Action.GO_BACK, manifest.to_bytes(), b"", 0))

    def instead(self) -> Host:
        """A host that has pushed something else, and later, in place of the last step."""
        other = Host(self.image)
        other.steps, other.networks = self.steps[:-1], self.networks[:-1]
        other._stack, other._counter = [other.networks[-1]], self._counter
        other.push(rewritten(other.network, 99, HEAD))
        return other

    def _delta(self, network: Running) -> tuple[Manifest, bytes]:
        payload = difference(self.network, network)
        self._counter += 1
        return delta_manifest(self._stack[-1][0], payload, self._counter), payload

    def _did(self, step: Step) -> None:
        self.steps.append(step)
        self.networks.append(self._stack[-1])


@dataclass(frozen=True, eq=False)
class Scenario:
    """Steps, of which the last is cut.

    Attributes:
        name: for people.
        host: that did them.
        area_bytes: of the board's areas.
    """

    name: str
    host: Host
    area_bytes: int


def scenarios() -> Sequence[Scenario]:
    """All that happens to an overlay; an area of 4096 bytes takes 15 pages, of 8192 31."""
    return [
        Scenario("first delta", _pushed(1), 8192),
        Scenario("second delta", _pushed(2), 8192),
        Scenario("compaction with the delta before kept", _pushed(6), 8192),
        Scenario("compaction into one snapshot", _large(), 4096),
        Scenario("compaction at the greatest depth", _deep(), 40960),
        Scenario("resume", _resumed(), 8192),
        Scenario("new class", _grown(), 8192),
        Scenario("rollback by one", _back(3, 1), 8192),
        Scenario("rollback to the image", _back(3, TO_IMAGE), 8192),
        Scenario("rollback twice, the second with a compaction", _back_twice(), 4096),
        Scenario("delta after a rollback", _after_rollback(), 8192),
        Scenario("delta after an abandoned one", _after_abandoned(), 8192),
    ]


def _pushed(count: int) -> Host:
    """A host that has pushed deltas of about 1,100 bytes."""
    host = Host(board_image())
    for seed in range(count):
        host.push(rewritten(rescaled(host.network, seed), seed, CONV, slice(seed % 3, None, 3)))
    return host


def _large() -> Host:
    host = Host(board_image())
    host.push(rewritten(host.network, 0, CONV))
    host.push(rewritten(host.network, 1, CONV, slice(WIDTH // 2)))
    host.push(rescaled(host.network, 2))
    return host


def _deep() -> Host:
    host = Host(board_image())
    for seed in range(33):
        host.push(rescaled(host.network, seed, slice(seed % WIDTH, seed % WIDTH + 1)))
    return host


def _resumed() -> Host:
    host = _pushed(1)
    host.push_part(rewritten(host.network, 7, CONV), 1024)
    host.resume()
    return host


def _grown() -> Host:
    host = _pushed(1)
    host.push(grown(host.network, 8))
    host.push(rewritten(host.network, 9, CONV))
    host.push(rewritten(grown(host.network, 10), 10, CONV))
    host.push(rewritten(host.network, 11, HEAD))
    host.push(rewritten(host.network, 12, CONV))
    return host


def _back(count: int, depth: int) -> Host:
    host = _pushed(count)
    host.go_back(depth)
    return host


def _back_twice() -> Host:
    host = Host(board_image())
    for seed in range(4):
        host.push(rewritten(host.network, seed, HEAD))
    host.go_back(1)
    host.go_back(1)
    return host


def _after_rollback() -> Host:
    host = _back(2, 1)
    host.push(rewritten(host.network, 13, CONV))
    return host


def _after_abandoned() -> Host:
    host = _pushed(1)
    host.push_part(rewritten(host.network, 14, CONV), 1024)
    host.push(rewritten(host.network, 15, CONV))
    return host


def _with(
    network: Running,
    rows: dict[int, NDArray[np.uint8]] | None = None,
    parameters: dict[int, NDArray[np.int32]] | None = None,
) -> Running:
    """A network with other arrays in some layers."""
    numbers = range(len(network.rows))
    return dataclasses.replace(
        network,
        rows=tuple((rows or {}).get(n, network.rows[n]) for n in numbers),
        parameters=tuple((parameters or {}).get(n, network.parameters[n]) for n in numbers),
    )
