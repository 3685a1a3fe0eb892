"""What a network needs of a microcontroller's flash and memory.

Flash holds the firmware, the image behind a sector of its own, and two overlay areas. An area is a
sixteenth of the flash, or more if that is too little for two segments (all that runs, and the next
delta) that bring a new norm and a whole classifier each, and a rollback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sel_edge.mcu.image import pack_texts
from sel_edge.mcu.layer import PARAMETER_BYTES, Layer
from sel_edge.mcu.manifest import MANIFEST_BYTES
from sel_edge.mcu.running import RUN

FIRMWARE_BYTES = 2**20
"""Of flash, assumed: bootloader, partition table and an application of ESP-IDF."""
FIRMWARE_RAM_BYTES = 128 * 2**10
"""Assumed: system, stacks and the link's buffers."""
PAGE_BYTES = 256
SECTOR_BYTES = 4096
_ENTRY_BYTES = 8
"""Of the channel table: two pointers."""
_AREA_SHARE = 16
_SEGMENTS = 2


@dataclass(frozen=True)
class Need:
    """What a network needs, in bytes.

    Attributes:
        image: the model image.
        arena: tensors and scratch of one inference.
        table: the channel table.
        frame: one frame as it arrives.
        payload: of an overlay with a new norm and a whole classifier.
    """

    image: int
    arena: int
    table: int
    frame: int
    payload: int

    @property
    def ram(self) -> int:
        """Bytes of memory, the firmware's included."""
        return self.arena + self.table + self.frame + FIRMWARE_RAM_BYTES


@dataclass(frozen=True)
class Board:
    """What a board has, in bytes.

    Attributes:
        flash: all of it.
        erase: the smallest piece of flash that can be erased.
        ram: memory.
    """

    flash: int
    erase: int
    ram: int

    def area(self, need: Need) -> int:
        """Bytes of each of the two overlay areas."""
        rollback = _up(MANIFEST_BYTES, PAGE_BYTES) + PAGE_BYTES
        segment = rollback + _up(need.payload, PAGE_BYTES)
        least = PAGE_BYTES + _SEGMENTS * segment + rollback
        return _up(max(self.flash // _AREA_SHARE, least), self.erase)

    def flash_for(self, need: Need) -> int:
        """Bytes of flash for firmware, image and both areas."""
        image = _up(SECTOR_BYTES + need.image, self.erase)
        return FIRMWARE_BYTES + image + 2 * self.area(need)

    def holds(self, need: Need) -> bool:
        """Whether all of it fits."""
        return self.flash_for(need) <= self.flash and need.ram <= self.ram


def payload_bytes(layers: Sequence[Layer], classes: Sequence[str]) -> int:
    """Bytes of an overlay with parameters of every channel and whole rows of a classifier.

    Args:
        layers: of the network; the last has as many output channels as there is room for classes.
        classes: their names now.
    """
    *body, head = (layer for layer in layers if layer.has_weights)
    norm = sum(RUN.size + layer.entries * PARAMETER_BYTES for layer in body)
    rows = RUN.size + head.entries * (PARAMETER_BYTES + head.row_bytes)
    return norm + rows + RUN.size + 4 + _up(len(pack_texts(classes)), 4)


def table_bytes(layers: Sequence[Layer]) -> int:
    """Bytes of the channel table."""
    return _ENTRY_BYTES * sum(layer.entries for layer in layers)


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
