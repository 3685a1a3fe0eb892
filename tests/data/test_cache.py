"""The cache saves decoding, follows the content, and is never a reason to fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sel_edge.data import sources
from sel_edge.data.cache import cache_directory
from sel_edge.data.sources import load_splits

Pack = Callable[[Path, dict[str, bytes]], Path]


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    calls: list[object] = []
    real = sources.load_image_folder
    monkeypatch.setattr(
        sources, "load_image_folder", lambda *args: (calls.append(args), real(*args))[1]
    )
    return calls


def test_decoded_once_per_content_and_options(
    tmp_path: Path, pack: Pack, image_files: dict[str, bytes], decodings: list[object]
) -> None:
    path = pack(tmp_path / "a.zip", image_files)
    first, second = load_splits(str(path)), load_splits(f"folder:{path}?classes=cat,dog")
    assert len(decodings) == 1
    assert np.array_equal(first.train.frames, second.train.frames)
    assert (first.sha256, first.note) == (second.sha256, second.note)
    assert second.source == f"folder:{path}?classes=cat,dog"
    path.rename(tmp_path / "b.zip")
    load_splits(str(tmp_path / "b.zip"))
    assert len(decodings) == 1, "the content counts, not the name"
    assert load_splits(f"{tmp_path}/b.zip?size=4").train.frames.shape == (6, 4, 4, 3)
    assert len(decodings) == 2


def test_changed_content_is_decoded_again(
    tmp_path: Path, pack: Pack, image_files: dict[str, bytes], decodings: list[object]
) -> None:
    before = load_splits(str(pack(tmp_path / "a", image_files)))
    changed = image_files | {"pets/train/cat/0.png": image_files["pets/train/dog/1.png"]}
    after = load_splits(str(pack(tmp_path / "a", changed)))
    assert before.sha256 != after.sha256
    assert not np.array_equal(before.train.frames, after.train.frames)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_a_damaged_cache_is_rebuilt(
    damage: str,
    tmp_path: Path,
    pack: Pack,
    image_files: dict[str, bytes],
    decodings: list[object],
) -> None:
    path = pack(tmp_path / "a.zip", image_files)
    expected = load_splits(str(path))
    (cache,) = cache_directory().iterdir()
    good = cache.read_bytes()
    flipped = bytearray(good)
    flipped[good.index(expected.train.frames.tobytes()) + 9] ^= 1
    bad = {"flip": bytes(flipped), "cut": good[:-100], "empty": b"", "foreign": b"hello"}
    cache.write_bytes(bad[damage])
    assert np.array_equal(load_splits(str(path)).train.frames, expected.train.frames)
    assert len(decodings) == 2
    load_splits(str(path))
    assert len(decodings) == 2, "the rebuilt cache is good"


@settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_to_a_cache_is_ever_seen(
    data: st.DataObject, tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    path = str(pack(tmp_path / "a.zip", image_files))
    expected = load_splits(path)
    (cache,) = cache_directory().iterdir()
    content = bytearray(cache.read_bytes())
    # The places where each part of a zip says what it is and how long it is.
    marks = [at for sign in (b"PK", b"\x93NUMPY") for at in places_of(sign, content)]
    start = data.draw(st.sampled_from(marks) | st.integers(0, len(content) - 1))
    start = min(start + data.draw(st.integers(0, 128)), len(content) - 1)
    flips = data.draw(st.binary(min_size=1, max_size=8))
    for at, flip in enumerate(flips[: len(content) - start], start):
        content[at] ^= flip
    cache.write_bytes(content)
    splits = load_splits(path)
    assert splits.train.classes == expected.train.classes
    assert (splits.note, splits.sha256) == (expected.note, expected.sha256)
    for mine, theirs in ((splits.train, expected.train), (splits.test, expected.test)):
        assert np.array_equal(mine.frames, theirs.frames)
        assert np.array_equal(mine.labels, theirs.labels)
    cache.unlink()


def places_of(sign: bytes, content: bytes) -> list[int]:
    return [at for at in range(len(content)) if content.startswith(sign, at)]


def test_a_member_marked_as_encrypted_or_oddly_packed_is_damage(
    tmp_path: Path, pack: Pack, image_files: dict[str, bytes], decodings: list[object]
) -> None:
    path = str(pack(tmp_path / "a.zip", image_files))
    load_splits(path)
    (cache,) = cache_directory().iterdir()
    good = cache.read_bytes()
    central = good.index(b"PK\x01\x02")
    for count, (offset, value) in enumerate([(8, 1), (10, 99)], start=2):
        bad = bytearray(good)
        bad[central + offset] = value
        cache.write_bytes(bad)
        load_splits(path)
        assert len(decodings) == count


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path,
    pack: Pack,
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("SEL_EDGE_CACHE", str(blocked / "cache"))
    assert len(load_splits(str(pack(tmp_path / "a.zip", image_files))).train) == 6
    assert blocked.read_text() == "in the way"


def test_a_full_disk_leaves_no_half_written_cache(
    tmp_path: Path,
    pack: Pack,
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(load_splits(str(pack(tmp_path / "a.zip", image_files))).train) == 6
    assert list(cache_directory().iterdir()) == []


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEL_EDGE_CACHE", "/a")
    assert cache_directory() == Path("/a")
    monkeypatch.delenv("SEL_EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_directory() == Path("/b/sel-edge")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path.home() / ".cache/sel-edge"
