"""A simulated board as the tests see it: the host's port, loaded as a shared library."""

from __future__ import annotations

import ctypes
import zlib
from functools import cache
from pathlib import Path
from typing import TypeVar

from sel_edge.link.frames import FrameDecoder, Kind, Packet
from sel_edge.link.messages.codec import Message
from sel_edge.link.messages.delta import (
    Chunks,
    Committed,
    DeltaBeginRequest,
    DeltaCommitRequest,
    DeltaDataRequest,
)
from sel_edge.link.messages.envelope import Request, decode_answer, encode_request
from sel_edge.link.messages.image import ImageBeginRequest, ImageCommitRequest, ImageDataRequest
from sel_edge.link.messages.rollback import RollbackRequest
from sel_edge.link.messages.status import Status, StatusRequest
from sel_edge.mcu.image import Image
from sel_edge.mcu.keys import Purpose, mac
from sel_edge.mcu.manifest import Manifest, delta_manifest
from tests.firmware.build import host_library

A = TypeVar("A", bound=Message)

KEY = bytes(range(32))
DEVICE_ID = b"board 01"
IMAGE_BYTES, AREA_BYTES = 16 * 4096, 4 * 4096
CHUNK_BYTES = 1024


class Options(ctypes.Structure):
    """As sel_host_options_t."""

    _fields_ = (
        ("image_bytes", ctypes.c_uint32),
        ("area_bytes", ctypes.c_uint32),
        ("arena_bytes", ctypes.c_uint32),
        ("table_entries", ctypes.c_uint32),
        ("message_bytes", ctypes.c_uint32),
        ("samples_bytes", ctypes.c_uint32),
        ("log_bytes", ctypes.c_uint32),
        ("window", ctypes.c_uint32),
        ("seed", ctypes.c_uint32),
        ("device_id", ctypes.c_uint8 * 8),
    )


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(host_library()))
    library.sel_host_new.restype = ctypes.c_void_p
    for name in ("free", "restart", "advance", "receive", "sent", "observe", "set_key"):
        getattr(library, f"sel_host_{name}").argtypes = [ctypes.c_void_p]
    return library


class Board:
    """One board with a key, unless `key` is None.

    Args:
        path: of its flash; None for one in memory.
        key: that it is given at first.
        sizes: fields of `Options` that differ from those of a small board.
    """

    def __init__(self, path: Path | None = None, key: bytes | None = KEY, **sizes: int) -> None:
        self._library = _library()
        options = Options(
            **{
                "image_bytes": IMAGE_BYTES,
                "area_bytes": AREA_BYTES,
                "arena_bytes": 1 << 16,
                "table_entries": 1024,
                "message_bytes": 4096,
                "samples_bytes": 4096,
                "log_bytes": 1024,
                "window": 4,
                "seed": 1,
            }
            | sizes
        )
        options.device_id[:] = DEVICE_ID
        name = None if path is None else str(path).encode()
        self._host = self._library.sel_host_new(ctypes.byref(options), name)
        assert self._host
        self._sequence = 0
        if key is not None:
            self._library.sel_host_set_key(self._host, key)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.sel_host_free(self._host)

    def restart(self) -> None:
        """Switch it off and on."""
        self._library.sel_host_restart(self._host)

    def advance(self, milliseconds: int) -> None:
        """Move its clock."""
        self._library.sel_host_advance(self._host, milliseconds)

    def observe(self, frame: bytes) -> tuple[int, tuple[int, int, int]]:
        """Status, and class, uncertainty and embarrassment, for a frame of its own camera."""
        numbers = (ctypes.c_uint16 * 3)()
        status = self._library.sel_host_observe(self._host, frame, numbers)
        return status, (numbers[0], numbers[1], numbers[2])

    def exchange(self, line: bytes) -> bytes:
        """What it sends when it has received bytes."""
        self._library.sel_host_receive(self._host, line, len(line))
        out = ctypes.create_string_buffer(1 << 16)
        sent = b""
        while count := self._library.sel_host_sent(self._host, out, len(out)):
            sent += out.raw[:count]
        return sent

    def ask_bytes(self, content: bytes, sequence: int | None = None) -> bytes:
        """The content of its response to the content of a request."""
        if sequence is None:
            self._sequence = sequence = (self._sequence + 1) % 65536
        line = self.exchange(Packet(Kind.REQUEST, sequence, content).encode())
        (packet,) = FrameDecoder(Kind.RESPONSE).feed(line)
        assert packet.sequence == sequence
        return packet.content

    def ask(self, request: Request[A], sequence: int | None = None) -> A:
        """Its answer to a request; RefusedError if that is no."""
        return decode_answer(request, self.ask_bytes(encode_request(request), sequence))

    @property
    def status(self) -> Status:
        """What it tells of itself."""
        return self.ask(StatusRequest())

    def mac(self, purpose: Purpose, manifest: bytes) -> bytes:
        """The MAC that the next request of some purpose needs."""
        return mac(KEY, purpose, self.status.nonce, manifest)

    def begin(self, manifest: bytes) -> Chunks:
        """Begin a delta."""
        return self.ask(DeltaBeginRequest(manifest, self.mac(Purpose.BEGIN, manifest)))

    def send(self, payload: bytes, number: int) -> None:
        """Send a chunk of a delta."""
        offset = number * CHUNK_BYTES
        self.ask(DeltaDataRequest(offset, payload[offset : offset + CHUNK_BYTES]))

    def commit(self, manifest: bytes) -> Committed:
        """Keep a delta that is there."""
        return self.ask(DeltaCommitRequest(manifest, self.mac(Purpose.COMMIT, manifest)))

    def push(self, manifest: bytes, payload: bytes) -> Committed:
        """Send a whole delta."""
        for number in range(self.begin(manifest).count):
            self.send(payload, number)
        return self.commit(manifest)

    def roll_back(self, manifest: bytes) -> Committed:
        """Go back as a manifest says."""
        return self.ask(RollbackRequest(manifest, self.mac(Purpose.ROLLBACK, manifest)))

    def install(self, image: Image) -> None:
        """Send an image, those chunks of it that are not there."""
        content, name = image.content, bytes.fromhex(image.hash)
        signed = len(content).to_bytes(4, "little") + name
        begin = ImageBeginRequest(len(content), name, self.mac(Purpose.IMAGE, signed))
        for number, crc in enumerate(self.ask(begin).crcs):
            chunk = content[number * CHUNK_BYTES :][:CHUNK_BYTES]
            if zlib.crc32(chunk) != crc:
                self.ask(ImageDataRequest(number * CHUNK_BYTES, chunk))
        self.ask(ImageCommitRequest(name, self.mac(Purpose.IMAGE, signed)))


def next_delta(board: Board, payload: bytes) -> Manifest:
    """The manifest of a delta on what a board runs."""
    status = board.status
    return delta_manifest(status.network.hex(), payload, status.counter + 1)
