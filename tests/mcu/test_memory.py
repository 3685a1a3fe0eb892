"""What fits on a board."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sel_edge.mcu.image import pack_texts
from sel_edge.mcu.memory import (
    FIRMWARE_BYTES,
    FIRMWARE_RAM_BYTES,
    Board,
    Need,
    payload_bytes,
    table_bytes,
)
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import running
from tests.mcu.networks import WIDTH, base
from tools.small_network import changed

BOARD = Board(flash=2**22, erase=4096, ram=400 * 2**10)
NEED = Need(image=700_000, arena=50_000, table=9_000, frame=3_072, payload=12_000)


def test_areas_are_a_sixteenth_or_what_two_segments_need():
    assert BOARD.area(NEED) == 2**18
    large = replace(NEED, payload=300_000)
    assert BOARD.area(large) >= 256 + 2 * (256 + 300_000 + 256)
    assert BOARD.area(large) % 4096 == 0


@pytest.mark.parametrize("pages", range(1025, 1041))
def test_areas_hold_what_runs_the_next_delta_and_a_rollback(pages: int):
    area = BOARD.area(replace(NEED, payload=256 * pages))
    assert area >= 256 + 2 * (256 + 256 * pages + 256) + 512


def test_all_flash_counts():
    spare = BOARD.flash - FIRMWARE_BYTES - 2 * BOARD.area(NEED)
    assert BOARD.holds(replace(NEED, image=spare - 4096))
    assert not BOARD.holds(replace(NEED, image=spare - 4096 + 1))


@pytest.mark.parametrize("name", ["arena", "table", "frame"])
def test_all_memory_counts(name: str):
    spare = BOARD.ram - FIRMWARE_RAM_BYTES - NEED.ram + FIRMWARE_RAM_BYTES
    most = replace(NEED, **{name: getattr(NEED, name) + spare})
    assert BOARD.holds(most)
    assert not BOARD.holds(replace(most, **{name: getattr(most, name) + 1}))


def test_the_room_for_an_overlay_is_enough_for_norm_and_head():
    image = base()[0]
    network = running(image)
    head = difference(network, changed(network, 1, layers=(2,)))
    room = payload_bytes(image.layers, image.classes)
    assert room >= 8 + 8 * WIDTH + len(head) + len(pack_texts(image.classes))
    assert table_bytes(image.layers) == 8 * image.entries
