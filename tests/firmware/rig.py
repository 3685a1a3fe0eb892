"""The overlay store of the firmware on simulated flash, loaded as a shared library."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from functools import cache
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sel_edge.mcu.image import Image
from tests.firmware.build import host_library
from tools.powercut_flash import c_step
from tools.powercut_scenarios import Step

CHUNK_BYTES = 1024
PLACE_BYTES = 64
"""Room for a sel_place_t."""


class Status(IntEnum):
    """As sel_status_t, as far as the overlay and the image partition use it."""

    OK = 0
    MALFORMED = 2
    WRONG_BASE = 4
    STALE_COUNTER = 5
    FULL = 7
    FLASH_FAULT = 8
    NO_IMAGE = 9
    IMAGE_REFUSED = 10
    PAYLOAD_REFUSED = 11
    INCOMPLETE = 13
    NOTHING_BEFORE = 15


class State(ctypes.Structure):
    """As sel_rig_state_t."""

    _fields_ = (
        ("counter", ctypes.c_uint64),
        ("area", ctypes.c_uint32),
        ("depth", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
        ("pending", ctypes.c_uint32),
        ("sequence", ctypes.c_uint32),
        ("erases", ctypes.c_uint32),
        ("is_damaged", ctypes.c_uint32),
        ("hash", ctypes.c_uint8 * 32),
    )


class Rig:
    """A board's image, its overlay and its flash.

    Args:
        image: that is in use.
        area_bytes: of each area.
        partition_bytes: of the image partition.
    """

    def __init__(self, image: Image, area_bytes: int = 8192, partition_bytes: int = 16384) -> None:
        self._library, self._area_bytes = _library(), area_bytes
        content = image.content
        self._rig = self._library.sel_rig_new(content, len(content), area_bytes, partition_bytes)
        assert self._rig
        self._overlay = self._library.sel_rig_overlay(self._rig)

    def __enter__(self) -> Rig:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._library.sel_rig_free(self._rig)

    def start(self) -> None:
        """Switch it off and on."""
        self._library.sel_rig_start(self._rig)

    def cut(self, at: int, share: float = 0.0, scatters: bool = False, seed: int = 0) -> None:
        """Let the power fail in the `at`th operation from now on, when a share of it is done."""
        self._library.sel_rig_cut(self._rig, at, int(share * 65536), scatters, seed)

    def step(self, step: Step) -> Status:
        """Do what a host does; see `tools.powercut_scenarios`."""
        return Status(self._library.sel_rig_step(self._rig, ctypes.byref(c_step(step))))

    def state(self) -> State:
        """What it says of itself."""
        state = State()
        self._library.sel_rig_state(self._rig, ctypes.byref(state))
        return state

    def areas(self) -> tuple[bytes, bytes]:
        """The bytes of both areas."""
        first, second = (self._library.sel_rig_area(self._rig, number) for number in (0, 1))
        return (
            ctypes.string_at(first, self._area_bytes),
            ctypes.string_at(second, self._area_bytes),
        )

    def damage(self, area: int, at: int, flips: int) -> None:
        """Flip bits of a byte of an area, as no program could."""
        address = self._library.sel_rig_area(self._rig, area) + at
        ctypes.memmove(address, bytes([ctypes.string_at(address, 1)[0] ^ flips]), 1)

    def content(self) -> bytes:
        """All channels, classes and names in use; `tools.powercut_scenarios.content_of`."""
        out = ctypes.create_string_buffer(1 << 16)
        size = self._library.sel_rig_content(self._rig, out, len(out))
        return out.raw[:size]

    def logits(self, inputs: NDArray[np.uint8], classes: int) -> list[int]:
        """Answer for one input."""
        return list(self._library.sel_rig_infer(self._rig, inputs.tobytes())[:classes])

    @property
    def erases(self) -> int:
        """Of both areas, as the flash has counted them."""
        return sum(self._library.sel_rig_erases(self._rig, area) for area in (0, 1))

    @property
    def violations(self) -> int:
        """Of the rules of NOR flash, so far."""
        return int(self._library.sel_rig_violations(self._rig))

    @property
    def operations(self) -> int:
        """Of flash, so far."""
        return int(self._library.sel_rig_operations(self._rig))

    def begin(self, manifest: bytes) -> tuple[Status, int, int]:
        """Status, and bytes needed and available if it is FULL."""
        needed, available = ctypes.c_uint32(), ctypes.c_uint32()
        status = self._library.sel_overlay_begin(
            self._overlay, manifest, ctypes.byref(needed), ctypes.byref(available)
        )
        return Status(status), needed.value, available.value

    def chunk(self, number: int) -> int:
        """CRC-32 of a chunk of what is pending."""
        place = ctypes.create_string_buffer(PLACE_BYTES)
        self._library.sel_overlay_place(self._overlay, place)
        return int(self._library.sel_place_chunk(place, number))

    def write(self, offset: int, data: bytes) -> Status:
        """Send a chunk."""
        return Status(self._library.sel_overlay_write(self._overlay, offset, data, len(data)))

    def commit(self, manifest: bytes) -> Status:
        """Put what is pending in use."""
        reason = ctypes.c_uint32()
        commit = self._library.sel_overlay_commit
        return Status(commit(self._overlay, manifest, ctypes.byref(reason)))

    def take_flash(self, other: Rig) -> None:
        """Have what is in another rig's flash."""
        self._library.sel_rig_copy(self._rig, ctypes.c_void_p(other._rig))


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(host_library()))
    for name in ("new", "overlay", "area"):
        getattr(library, f"sel_rig_{name}").restype = ctypes.c_void_p
    for name in (
        *("free", "overlay", "area", "copy", "start", "cut", "step", "state", "content"),
        *("infer", "erases", "violations", "operations"),
    ):
        getattr(library, f"sel_rig_{name}").argtypes = [ctypes.c_void_p]
    library.sel_rig_infer.restype = ctypes.POINTER(ctypes.c_int16)
    for name in ("violations", "operations"):
        getattr(library, f"sel_rig_{name}").restype = ctypes.c_uint64
    for name in ("begin", "place", "write", "commit"):
        getattr(library, f"sel_overlay_{name}").argtypes = [ctypes.c_void_p]
    library.sel_place_chunk.restype = ctypes.c_uint32
    return library
