"""The shelf: what it was given comes back, or nothing does."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import StorageError
from sel_edge.gateway.shelf import KEPT, SENT, SUFFIX, Shelf
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import Running, running
from tools.small_network import changed, grown, small_image

IMAGE = small_image()
FIRST = running(IMAGE)
NAME = "ab" * 32


def same(one: Running | None, other: Running) -> bool:
    return one is not None and difference(one, other) == b""


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=25)
def test_a_network_comes_back_as_it_was(seed: int, has_new_class: bool) -> None:
    network = changed(FIRST, seed)
    network = grown(network, seed) if has_new_class else network
    with tempfile.TemporaryDirectory() as folder:
        Shelf(Path(folder), IMAGE).put(NAME, network)
        assert same(Shelf(Path(folder), IMAGE).get(NAME), network)


def test_the_image_is_known_without_a_file_and_nothing_else_is(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "board", IMAGE)
    assert same(shelf.get(IMAGE.hash), FIRST)
    assert shelf.get(NAME) is None
    assert not (tmp_path / "board").exists()


@given(st.data())
@settings(max_examples=40)
def test_a_damaged_file_is_as_good_as_none(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder), IMAGE)
        shelf.put(NAME, changed(FIRST, 1))
        (path,) = (Path(folder) / SENT).iterdir()
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        else:
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert shelf.get(NAME) is None


def test_a_file_for_another_image_is_as_good_as_none(tmp_path: Path) -> None:
    wide = small_image(width=8)
    payload = difference(running(wide), changed(running(wide), 1))
    shelf = Shelf(tmp_path, IMAGE)
    shelf.put(NAME, changed(FIRST, 1))
    (path,) = (tmp_path / SENT).iterdir()
    path.write_bytes(hashlib.sha256(payload).digest() + payload)
    assert shelf.get(NAME) is None


def test_the_networks_sent_last_are_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, IMAGE)
    names = [f"{number:064x}" for number in range(KEPT + 3)]
    for number, name in enumerate(names):
        shelf.put(name, changed(FIRST, number))
        os.utime(tmp_path / SENT / f"{name}{SUFFIX}", (number, number))  # clocks are coarse
    assert [shelf.get(name) is None for name in names] == [True] * 3 + [False] * KEPT
    assert len(list((tmp_path / SENT).iterdir())) == KEPT


def test_a_place_that_cannot_be_written_is_an_error_of_storage(tmp_path: Path) -> None:
    (tmp_path / SENT).write_text("no folder")
    with pytest.raises(StorageError):
        Shelf(tmp_path, IMAGE).put(NAME, changed(FIRST, 1))
