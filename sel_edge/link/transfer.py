"""Carries a delta or an image over: begin, the chunks that differ, commit.

Whatever restarts in between, it begins again and sends what is missing only. What is on the board
at the end is what was sent, or there is an error.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sel_edge.core.errors import LinkError, RefusedError
from sel_edge.link.exchange import Exchange
from sel_edge.link.messages.delta import (
    Chunks,
    Committed,
    DeltaBeginRequest,
    DeltaCommitRequest,
    DeltaDataRequest,
    Written,
)
from sel_edge.link.messages.envelope import Request
from sel_edge.link.messages.hello import Hello
from sel_edge.link.messages.image import (
    ImageBeginRequest,
    ImageCommitRequest,
    ImageCommitted,
    ImageDataRequest,
)
from sel_edge.link.messages.refusal import Refusal
from sel_edge.link.messages.status import Status, StatusRequest
from sel_edge.mcu.keys import Purpose, mac
from sel_edge.mcu.manifest import Manifest

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes in all."""

MAX_TRIES: dict[int, int] = {Refusal.INCOMPLETE: 16, Refusal.WRONG_MAC: 4}
"""What a board answers that has restarted, and how often in all while nothing new arrives.

A board on bad power may restart many times before it has written one more chunk. A MAC is wrong if
it restarts just then, or because the key is: that is not tried for long.
"""
_DATA_HEAD_BYTES = 6
_MAX_IN_FLIGHT = 64


class Shipment(Protocol):
    """What is carried over."""

    @property
    def content(self) -> bytes:
        """Its bytes."""
        ...

    def begin(self, nonce: bytes) -> Request[Chunks]:
        """Asks what is there of it."""
        ...

    def data(self, offset: int, chunk: bytes) -> Request[Written]:
        """Sends a chunk."""
        ...

    def commit(self, nonce: bytes) -> Request[Any]:
        """Puts it in use."""
        ...

    def is_in_use(self, status: Status) -> bool:
        """Whether a board runs it."""
        ...


@dataclass(frozen=True)
class DeltaShipment:
    """A delta.

    Attributes:
        manifest: of the delta.
        content: its payload.
        key: of the board, 32 bytes.
    """

    manifest: Manifest
    content: bytes
    key: bytes

    def begin(self, nonce: bytes) -> Request[Chunks]:
        """See `Shipment.begin`."""
        manifest = self.manifest.to_bytes()
        return DeltaBeginRequest(manifest, mac(self.key, Purpose.BEGIN, nonce, manifest))

    def data(self, offset: int, chunk: bytes) -> Request[Written]:
        """See `Shipment.data`."""
        return DeltaDataRequest(offset, chunk)

    def commit(self, nonce: bytes) -> Request[Committed]:
        """See `Shipment.commit`."""
        manifest = self.manifest.to_bytes()
        return DeltaCommitRequest(manifest, mac(self.key, Purpose.COMMIT, nonce, manifest))

    def is_in_use(self, status: Status) -> bool:
        """See `Shipment.is_in_use`."""
        return is_result(self.manifest, status)


@dataclass(frozen=True)
class ImageShipment:
    """An image.

    Attributes:
        content: the image.
        image_hash: 32 bytes.
        key: of the board, 32 bytes.
    """

    content: bytes
    image_hash: bytes
    key: bytes

    def begin(self, nonce: bytes) -> Request[Chunks]:
        """See `Shipment.begin`."""
        return ImageBeginRequest(len(self.content), self.image_hash, self._mac(nonce))

    def data(self, offset: int, chunk: bytes) -> Request[Written]:
        """See `Shipment.data`."""
        return ImageDataRequest(offset, chunk)

    def commit(self, nonce: bytes) -> Request[ImageCommitted]:
        """See `Shipment.commit`."""
        return ImageCommitRequest(self.image_hash, self._mac(nonce))

    def is_in_use(self, status: Status) -> bool:
        """See `Shipment.is_in_use`."""
        return status.image == self.image_hash and status.has_network

    def _mac(self, nonce: bytes) -> bytes:
        named = struct.pack("<I", len(self.content)) + self.image_hash
        return mac(self.key, Purpose.IMAGE, nonce, named)


def is_result(manifest: Manifest, status: Status) -> bool:
    """Whether a board runs what a manifest leads to."""
    return (status.network.hex(), status.counter) == (manifest.after, manifest.counter)


class Transfer:
    """One shipment on its way to a board.

    Args:
        exchange: with the board.
        greet: says hello and makes sure that it is still the same board.
        shipment: what is carried over.
        progress: told whenever a chunk has arrived.
    """

    def __init__(
        self,
        exchange: Exchange,
        greet: Callable[[], Hello],
        shipment: Shipment,
        progress: Progress | None,
    ) -> None:
        self._exchange, self._greet, self._shipment = exchange, greet, shipment
        self._progress = progress
        self._fewest_missing: int | None = None

    def run(self) -> Status:
        """Carry it over; returns the board's status with the shipment in use.

        Raises:
            NoAnswerError: nothing came back within the time limit.
            RefusedError: the board does not take it.
            LinkError: what it said cannot be right.
        """
        refused = Counter[int]()
        while True:
            before = self._fewest_missing
            try:
                return self._try()
            except RefusedError as refusal:
                # A board that restarts gets on a little further each time.
                if self._fewest_missing != before:
                    refused.clear()
                refused[refusal.status] += 1
                if refused[refusal.status] >= MAX_TRIES.get(refusal.status, 1):
                    raise

    def _try(self) -> Status:
        hello, status = self._greet(), self._exchange.ask(StatusRequest())
        if self._shipment.is_in_use(status):
            return status
        there = self._exchange.ask(self._shipment.begin(status.nonce))
        parts = self._missing(there, hello)
        missing = sum(len(chunk) for _, chunk in parts)
        if self._fewest_missing is None or missing < self._fewest_missing:
            self._fewest_missing = missing
        self._send(parts, min(hello.window, _MAX_IN_FLIGHT))
        self._exchange.ask(self._shipment.commit(status.nonce))
        status = self._exchange.ask(StatusRequest())
        if not self._shipment.is_in_use(status):
            raise LinkError(
                f"The board runs the network {status.network.hex()} after a commit.",
                "The network that was sent is expected.",
                "Roll it back, and check that firmware and program are of the same release.",
            )
        return status

    def _missing(self, there: Chunks, hello: Hello) -> list[tuple[int, bytes]]:
        """Offsets and chunks that the board does not have."""
        content, size = self._shipment.content, there.chunk_bytes
        fits = size + _DATA_HEAD_BYTES <= hello.longest_message
        if not fits or there.count != -(-len(content) // size):
            raise LinkError(
                f"The board wants {there.count} chunks of {size} bytes.",
                f"Chunks that make up {len(content)} bytes, and fit its messages, are expected.",
                "Check that firmware and program are of the same release.",
            )
        offsets = range(0, len(content), size)
        chunks = ((offset, content[offset : offset + size]) for offset in offsets)
        pairs = zip(chunks, there.crcs, strict=True)
        return [part for part, crc in pairs if zlib.crc32(part[1]) != crc]

    def _send(self, parts: list[tuple[int, bytes]], window: int) -> None:
        total = len(self._shipment.content)
        under_way = {offset: len(chunk) for offset, chunk in parts}
        arrived = total - sum(under_way.values())
        self._report(arrived, total)
        requests = (self._shipment.data(offset, chunk) for offset, chunk in parts)
        for written in self._exchange.ask_all(requests, window):
            if written.offset not in under_way:
                raise LinkError(
                    f"The board has written a chunk at {written.offset}.",
                    "The chunks that were sent are expected, each once.",
                    "Check that firmware and program are of the same release.",
                )
            arrived += under_way.pop(written.offset)
            self._report(arrived, total)

    def _report(self, arrived: int, total: int) -> None:
        if self._progress is not None:
            self._progress(arrived, total)
