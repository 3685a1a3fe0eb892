"""Images that cannot be decoded are refused together, by name, or left out on request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import DataError
from sel_edge.data import limits
from sel_edge.data.bad_images import NAMED, SHOWN, BadImages
from sel_edge.data.dataset import Splits
from sel_edge.data.sources import load_splits

Pack = Callable[[Path, dict[str, bytes]], Path]
Encode = Callable[..., bytes]
Files = dict[str, bytes]

CAT, DOG = "pets/train/cat/1.png", "pets/test/dog/0.png"


def refusal(spec: str) -> str:
    with pytest.raises(DataError) as caught:
        load_splits(spec)
    assert caught.value.expected and caught.value.action
    return str(caught.value)


def assert_same_frames(one: Splits, other: Splits) -> None:
    for mine, theirs in ((one.train, other.train), (one.test, other.test)):
        assert np.array_equal(mine.frames, theirs.frames)
        assert np.array_equal(mine.labels, theirs.labels)
        assert mine.classes == theirs.classes


@pytest.fixture
def corrupt_files(image_files: Files) -> Files:
    """The good folder with a cut-off cat among the others, and a text in place of a dog."""
    return image_files | {CAT: image_files[CAT][:-40], DOG: b"woof"}


@given(count=st.integers(1, 3 * SHOWN) | st.just(NAMED + 7))
def test_a_list_of_any_length_stays_short(count: int) -> None:
    bad = BadImages()
    for number in range(count):
        bad.add(f"<{number}>", "broken")
    text = str(bad)
    assert text.startswith(f"{count:,} bad image{'s' if count > 1 else ''}: <0> (broken)")
    assert text.count("(broken)") == min(count, SHOWN)
    assert text.endswith(f" and {count - SHOWN:,} more") == (count > SHOWN)
    assert len(bad.reasons) == min(count, NAMED)


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.zip", "set"])
def test_all_are_named_together_with_the_way_out(
    name: str, tmp_path: Path, pack: Pack, corrupt_files: Files
) -> None:
    message = refusal(str(pack(tmp_path / name, corrupt_files)))
    assert "holds 2 bad images: " in message
    assert f"{CAT} (" in message and "truncated" in message
    assert f"{DOG} (its content is no image of a known format)" in message
    assert "--skip-bad" in message and "?bad=skip" in message


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.zip", "set"])
def test_skipping_gives_what_a_source_without_them_gives(
    name: str, tmp_path: Path, pack: Pack, corrupt_files: Files
) -> None:
    good = {name: data for name, data in corrupt_files.items() if name not in (CAT, DOG)}
    splits = load_splits(f"{pack(tmp_path / name, corrupt_files)}?bad=skip")
    assert_same_frames(splits, load_splits(str(pack(tmp_path / "good", good))))
    assert splits.skipped.count == 2 and splits.skipped.reasons.keys() == {CAT, DOG}
    assert splits.note == "2 bad images left out"


def test_good_images_are_all_taken(tmp_path: Path, pack: Pack, image_files: Files) -> None:
    path = pack(tmp_path / "set", image_files)
    splits = load_splits(f"{path}?bad=skip")
    assert_same_frames(splits, load_splits(str(path)))
    assert splits.skipped == BadImages() and splits.note == ""


def test_the_cache_keeps_the_names_and_both_ways_apart(
    tmp_path: Path, pack: Pack, corrupt_files: Files
) -> None:
    path = pack(tmp_path / "set.zip", corrupt_files)
    decoded = load_splits(f"{path}?bad=skip")
    assert "2 bad images" in refusal(str(path))
    (cache,) = (tmp_path / "cache").iterdir()
    before = cache.read_bytes()
    remembered = load_splits(f"{path}?bad=skip")
    assert cache.read_bytes() == before
    assert_same_frames(remembered, decoded)
    assert (remembered.skipped, remembered.note) == (decoded.skipped, decoded.note)


def test_an_image_of_too_many_pixels_is_a_bad_one(
    tmp_path: Path,
    pack: Pack,
    encode: Encode,
    image_files: Files,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 100)
    large = encode(np.zeros((11, 10), dtype=np.uint8))
    files = image_files | {CAT: large, DOG: b"P6 20000 20000 255\n"}
    splits = load_splits(f"{pack(tmp_path / 'set', files)}?bad=skip")
    assert splits.skipped.reasons == dict.fromkeys((DOG, CAT), "would unpack to too many pixels")


@pytest.mark.parametrize("name", ["set.zip", "set"])
@pytest.mark.parametrize("lost", ["pets/train/cat/", "pets/test/dog/", "/dog/", ""])
def test_a_class_without_a_good_image_is_refused(
    lost: str, name: str, tmp_path: Path, pack: Pack, image_files: Files
) -> None:
    """Nor does a class vanish unseen where all of its images in both splits are bad."""
    files = {name: b"" if lost in name else data for name, data in image_files.items()}
    message = refusal(f"{pack(tmp_path / name, files)}?bad=skip")
    assert "is empty without" in message
    assert "0.png (" in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pets/train/cat/deep/0.png": b""}, "deeper"),
        ({"pets/train/stray.png": b""}, "no class folder"),
        ({"farm/train/cat/0.png": b""}, "two data sets"),
        ({"pets/train/emu/0.png": b""}, "test/emu is missing"),
    ],
)
def test_a_wrong_layout_stays_an_error(
    change: Files, says: str, tmp_path: Path, pack: Pack, corrupt_files: Files
) -> None:
    assert says in refusal(f"{pack(tmp_path / 'set.tar', corrupt_files | change)}?bad=skip")


def test_what_needs_converting_stays_an_error(
    tmp_path: Path, pack: Pack, encode: Encode, corrupt_files: Files
) -> None:
    for name, shape, remedy in (("larger", (9, 8, 3), "?size="), ("rgba", (8, 8, 4), "?mode=")):
        odd = {"pets/train/dog/2.png": encode(np.zeros(shape, dtype=np.uint8))}
        assert remedy in refusal(f"{pack(tmp_path / name, corrupt_files | odd)}?bad=skip")


def test_a_damaged_archive_stays_an_error(tmp_path: Path, pack: Pack, corrupt_files: Files) -> None:
    path = pack(tmp_path / "set.tar.gz", corrupt_files)
    path.write_bytes(path.read_bytes()[:-200])
    assert "cannot be read to its end" in refusal(f"{path}?bad=skip")


def test_the_note_tells_only_of_images_that_are_there(
    tmp_path: Path, pack: Pack, encode: Encode, image_files: Files
) -> None:
    jpeg = encode(np.zeros((8, 8, 3), dtype=np.uint8), "JPEG", quality=75)
    coarse = encode(np.zeros((8, 8, 3), dtype=np.uint8), "JPEG", quality=10)
    files = dict.fromkeys(image_files, jpeg) | {CAT: coarse[: coarse.index(b"\xff\xda") + 2]}
    splits = load_splits(f"{pack(tmp_path / 'set', files)}?bad=skip")
    assert splits.note == "JPEG, quality 75, 4:2:0, 1 bad image left out"


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(form=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "PPM"]), data=st.data())
def test_a_damaged_image_is_decoded_or_left_out(
    form: str,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    pack: Pack,
    encode: Encode,
    image_files: Files,
) -> None:
    content = bytearray(encode(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), form))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    path = pack(tmp_path_factory.mktemp("damaged") / "set", image_files | {CAT: damaged})
    splits = load_splits(f"{path}?bad=skip&size=8&mode=rgb")
    assert len(splits.train) + splits.skipped.count == 6
    assert all(splits.skipped.reasons.values())
