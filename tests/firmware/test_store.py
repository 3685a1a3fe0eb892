"""The image partition: an image is opened only if all of it is there, and right."""

from __future__ import annotations

import ctypes
import hashlib
import zlib
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firmware.build import host_library
from tests.firmware.rig import CHUNK_BYTES, PLACE_BYTES, Status
from tools.powercut_scenarios import board_image

IMAGE, OTHER = board_image(1).content, board_image(2).content
PARTITION_BYTES = 16384
IMAGE_AT, COMMIT_AT = 4096, 256


class CFlash(ctypes.Structure):
    """As sel_flash_t."""

    _fields_ = (
        ("map", ctypes.POINTER(ctypes.c_uint8)),
        ("bytes", ctypes.c_uint32),
        ("erase_bytes", ctypes.c_uint32),
    )


class Partition:
    """An image partition on simulated flash."""

    def __init__(self) -> None:
        self._library = _library()
        self._sim = self._library.sel_flash_sim_new(PARTITION_BYTES, None, 0)
        self._flash = ctypes.c_void_p(self._library.sel_flash_sim_port(self._sim))
        self.map = ctypes.cast(self._flash, ctypes.POINTER(CFlash)).contents.map

    def close(self) -> None:
        self._library.sel_flash_sim_free(self._sim)

    def open(self) -> Status:
        image, reason = ctypes.create_string_buffer(512), ctypes.c_uint32()
        return Status(self._library.sel_store_open(self._flash, image, ctypes.byref(reason)))

    def begin(self, image: bytes, size: int | None = None) -> Status:
        numbers = ctypes.c_uint32(), ctypes.c_uint32()
        size = len(image) if size is None else size
        begin = self._library.sel_store_begin
        return Status(begin(self._flash, size, image[16:48], *map(ctypes.byref, numbers)))

    def write(self, at: int, data: bytes) -> Status:
        return Status(self._library.sel_store_write(self._flash, at, data, len(data)))

    def chunk(self, number: int) -> int:
        place = ctypes.create_string_buffer(PLACE_BYTES)
        self._library.sel_store_place(self._flash, place)
        return int(self._library.sel_place_chunk(place, number))

    def commit(self, image: bytes) -> Status:
        reason = ctypes.c_uint32()
        commit = self._library.sel_store_commit
        return Status(commit(self._flash, image[16:48], ctypes.byref(reason)))

    def send(self, image: bytes, skip: int | None = None) -> None:
        """All chunks, or all but one."""
        for at in range(0, len(image), CHUNK_BYTES):
            if at != skip:
                assert self.write(at, image[at : at + CHUNK_BYTES]) == Status.OK

    def install(self, image: bytes) -> None:
        assert self.begin(image) == Status.OK
        self.send(image)
        assert self.commit(image) == Status.OK
        assert self.open() == Status.OK


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(host_library()))
    for name in ("new", "port"):
        getattr(library, f"sel_flash_sim_{name}").restype = ctypes.c_void_p
    for name in ("port", "free"):
        getattr(library, f"sel_flash_sim_{name}").argtypes = [ctypes.c_void_p]
    library.sel_place_chunk.restype = ctypes.c_uint32
    return library


@pytest.fixture
def partition():
    partition = Partition()
    yield partition
    partition.close()


def test_an_image_is_opened_after_its_commit_alone(partition):
    assert partition.open() == Status.NO_IMAGE
    assert partition.begin(IMAGE) == Status.OK
    partition.send(IMAGE)
    assert partition.open() == Status.NO_IMAGE
    assert partition.commit(IMAGE) == Status.OK
    assert partition.open() == Status.OK


def test_a_missing_chunk_is_told_and_can_be_sent_later(partition):
    partition.begin(IMAGE)
    partition.send(IMAGE, skip=CHUNK_BYTES)
    assert partition.commit(IMAGE) == Status.INCOMPLETE
    assert partition.begin(IMAGE) == Status.OK
    assert partition.chunk(0) == zlib.crc32(IMAGE[:CHUNK_BYTES])
    left = len(IMAGE[CHUNK_BYTES : 2 * CHUNK_BYTES])
    assert partition.chunk(1) == zlib.crc32(b"\xff" * left)
    partition.send(IMAGE)
    assert partition.commit(IMAGE) == Status.OK


def test_the_image_in_use_is_not_erased_by_its_own_begin_nor_written_by_data(partition):
    partition.install(IMAGE)
    assert partition.begin(IMAGE) == Status.OK
    partition.send(IMAGE)
    assert partition.write(0, OTHER[:CHUNK_BYTES]) == Status.INCOMPLETE
    assert partition.commit(IMAGE) == Status.OK
    assert partition.open() == Status.OK


def test_another_image_takes_its_place(partition):
    partition.install(IMAGE)
    assert partition.begin(OTHER) == Status.OK
    assert partition.open() == Status.NO_IMAGE
    assert partition.commit(IMAGE) == Status.INCOMPLETE
    partition.install(OTHER)


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, len(IMAGE) - 1), flips=st.integers(1, 255))
def test_a_damaged_image_is_not_opened_and_can_be_installed_again(at, flips):
    partition = Partition()
    partition.install(IMAGE)
    partition.map[IMAGE_AT + at] ^= flips
    assert partition.open() == Status.IMAGE_REFUSED
    partition.install(IMAGE)
    partition.close()


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 47) | st.integers(COMMIT_AT, COMMIT_AT + 43), flips=st.integers(1, 255))
def test_damaged_records_open_nothing(at, flips):
    partition = Partition()
    partition.install(IMAGE)
    partition.map[at] ^= flips
    assert partition.open() == Status.NO_IMAGE
    partition.close()


def test_an_image_of_another_hash_is_never_committed(partition):
    """Even if its own bytes are right: the host signed the other one's hash."""
    assert partition.begin(OTHER, len(IMAGE)) == Status.OK
    partition.send(IMAGE)
    assert partition.commit(OTHER) == Status.INCOMPLETE
    assert partition.open() == Status.NO_IMAGE


def test_bytes_that_are_no_image_are_refused(partition):
    body = np.random.default_rng(0).bytes(2000)
    content = bytes(16) + hashlib.sha256(body).digest() + body
    partition.begin(content)
    partition.send(content)
    assert partition.commit(content) == Status.IMAGE_REFUSED
    assert partition.open() == Status.NO_IMAGE


def test_wrong_chunks_are_not_programmed_over(partition):
    partition.begin(IMAGE)
    assert partition.write(0, bytes(CHUNK_BYTES)) == Status.OK
    assert partition.write(0, IMAGE[:CHUNK_BYTES]) == Status.INCOMPLETE
    partition.install(IMAGE)


def test_impossible_sizes_and_places_are_refused(partition):
    room = PARTITION_BYTES - IMAGE_AT
    assert partition.begin(IMAGE, room + 1) == Status.FULL
    assert partition.begin(IMAGE, 2**32 - 1) == Status.FULL
    assert partition.begin(IMAGE, 143) == Status.MALFORMED
    assert partition.write(0, IMAGE[:CHUNK_BYTES]) == Status.INCOMPLETE
    assert partition.begin(IMAGE) == Status.OK
    wrong = [(4, IMAGE[:CHUNK_BYTES]), (0, IMAGE[:8]), (0xFFFFFC00, IMAGE[:CHUNK_BYTES])]
    assert {partition.write(at, data) for at, data in wrong} == {Status.MALFORMED}
