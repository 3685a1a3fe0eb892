"""A watched folder: each picture once, half-written ones wait, broken ones are named."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sel_edge.core.errors import DataError
from sel_edge.serve.mailbox import Arrival
from sel_edge.serve.sources import inbox
from sel_edge.serve.sources.inbox import InboxSource
from sel_edge.serve.sources.interface import Refused

LONG_AGO_S = 3600.0


def save(path: Path, value: int) -> None:
    """A picture of one colour, written an hour ago."""
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(path, "PNG")
    age(path)


def age(path: Path) -> None:
    then = time.time() - LONG_AGO_S
    os.utime(path, (then, then))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "inbox"
    found.mkdir()
    return found


@pytest.fixture
def polled(tmp_path: Path, folder: Path) -> Callable[..., list[Arrival | Refused]]:
    """What some looks at the folder bring; between two of them something may happen."""

    def polled(*between: Callable[[], object]) -> list[Arrival | Refused]:
        events: Iterator[Callable[[], object]] = iter([*between, lambda: None])

        def rest(_: float) -> bool:
            event = next(events, None)
            if event is not None:
                event()
            return event is None

        source = InboxSource("inbox:here", folder, tmp_path)
        return [one for one in source.arrivals(rest) if one is not None]

    return polled


def values(found: list[Arrival | Refused]) -> list[int]:
    return [int(one.picture[0, 0, 0]) for one in found if isinstance(one, Arrival)]


def test_each_picture_is_looked_at_once_and_left_alone(folder: Path, polled) -> None:
    for value in (3, 1, 2):
        save(folder / f"{value}.png", value)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert sorted(values(polled())) == [1, 2, 3]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_oldest_comes_first(folder: Path, polled) -> None:
    for number, value in enumerate((7, 5, 6)):
        save(folder / f"{value}.png", value)
        os.utime(folder / f"{value}.png", (number, number))
    assert values(polled()) == [7, 5, 6]


def test_a_restart_remembers_what_was_looked_at(folder: Path, polled) -> None:
    save(folder / "a.png", 1)
    assert values(polled()) == [1]
    save(folder / "b.png", 2)
    assert values(polled()) == [2]


def test_a_changed_file_is_a_new_picture(folder: Path, polled) -> None:
    save(folder / "a.png", 1)

    def change() -> None:
        Image.fromarray(np.full((60, 8, 3), 9, np.uint8)).save(folder / "a.png")

    def nothing() -> None:
        pass

    assert values(polled(nothing, change, nothing)) == [1, 9]


def test_a_file_that_still_grows_waits(folder: Path, polled) -> None:
    save(folder / "whole.png", 4)
    whole = (folder / "whole.png").read_bytes()
    (folder / "whole.png").unlink()
    half = folder / "half.png"
    half.write_bytes(whole[:20])

    def grow() -> None:
        with half.open("ab") as file:
            size = half.stat().st_size
            file.write(whole[size : size + 20])

    steps = len(whole) // 20
    found = polled(*[grow] * steps, lambda: None)
    assert values(found) == [4] and len(found) == 1


def test_a_writer_that_pauses_is_waited_for(folder: Path, polled) -> None:
    """The file looks the same for a while, and cannot be read yet."""
    save(folder / "whole.png", 4)
    whole = (folder / "whole.png").read_bytes()
    (folder / "whole.png").unlink()
    half = folder / "half.png"
    half.write_bytes(whole[:20])
    found = polled(
        lambda: None, lambda: None, lambda: half.write_bytes(whole), lambda: None, lambda: None
    )
    assert values(found) == [4] and len(found) == 1


def test_what_is_no_picture_is_named_once(folder: Path, polled) -> None:
    (folder / "notes.txt").write_text("no picture")
    age(folder / "notes.txt")
    save(folder / "a.png", 1)
    found = polled(lambda: None, lambda: None)
    assert values(found) == [1]
    (refused,) = [one for one in found if isinstance(one, Refused)]
    assert "notes.txt" in refused.why


def test_bombs_links_pipes_and_hidden_files_are_not_read(folder: Path, polled, tmp_path) -> None:
    save(tmp_path / "outside.png", 1)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    save(folder / ".hidden.png", 2)
    bomb = folder / "bomb.png"
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(bomb)
    content = bytearray(bomb.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height, in the header alone
    bomb.write_bytes(content)
    age(bomb)
    huge = folder / "huge.png"
    with huge.open("wb") as file:
        file.truncate(inbox.MAX_MEMBER_BYTES + 1)
    age(huge)
    found = polled(lambda: None)
    assert values(found) == []
    assert sorted(one.why.split()[0] for one in found if isinstance(one, Refused)) == [
        "bomb.png",
        "huge.png",
    ]


def test_a_name_that_is_no_utf8_is_remembered_like_any_other(folder: Path, polled) -> None:
    save(folder / "a.png", 1)
    (folder / "a.png").rename(folder / os.fsdecode(b"\xff\xfe.png"))
    assert values(polled()) == [1]
    assert values(polled()) == []


def test_a_jpeg_made_to_do_harm_is_refused_like_any_other(folder: Path, polled) -> None:
    """Its header announces three channels and describes one."""
    path = folder / "a.jpg"
    Image.new("RGB", (8, 8)).save(path, "JPEG")
    content = path.read_bytes()
    start = content.index(b"\xff\xc0")
    path.write_bytes(
        content[: start + 2] + b"\0\x0b" + content[start + 4 : start + 13] + content[start + 19 :]
    )
    age(path)
    (refused,) = polled(lambda: None)
    assert isinstance(refused, Refused) and "a.jpg" in refused.why


def test_no_picture_from_the_future_is_waited_for(folder: Path, polled) -> None:
    (folder / "notes.txt").write_text("no picture")
    then = time.time() + LONG_AGO_S
    os.utime(folder / "notes.txt", (then, then))
    (refused,) = polled(lambda: None, lambda: None)
    assert isinstance(refused, Refused)


def test_a_large_folder_is_looked_through_less_often(folder: Path, tmp_path, monkeypatch) -> None:
    seconds, rests = [0.0], []
    scandir = os.scandir

    def slowly(path: Path) -> Iterator[os.DirEntry[str]]:
        seconds[0] += 3.0
        return scandir(path)

    monkeypatch.setattr(inbox.time, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(inbox.os, "scandir", slowly)

    def rest(asked_s: float) -> bool:
        rests.append(asked_s)
        return True

    list(InboxSource("inbox:here", folder, tmp_path).arrivals(rest))
    assert rests == [pytest.approx(30.0)]


def test_a_folder_that_is_gone_is_an_error_that_may_be_tried_again(folder: Path, polled) -> None:
    folder.rmdir()
    with pytest.raises(DataError, match="cannot be read"):
        polled()
    folder.mkdir()
    assert polled() == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"folder": 1}', b"\xff", b'{"files": []}'])
def test_a_damaged_memory_is_an_empty_one(folder, polled, tmp_path, content: bytes) -> None:
    (tmp_path / inbox.MEMORY_FILE).write_bytes(content)
    save(folder / "a.png", 1)
    assert values(polled()) == [1]


def test_names_that_are_gone_are_forgotten(folder: Path, polled, tmp_path: Path) -> None:
    for value in range(5):
        save(folder / f"{value}.png", value)
    polled()
    for path in folder.iterdir():
        path.unlink()
    polled()
    assert b".png" not in (tmp_path / inbox.MEMORY_FILE).read_bytes()
