"""Image folders give the same arrays in every packing, and every bad one is refused in words."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import DataError
from sel_edge.data import limits
from sel_edge.data.imagefolder import _reorder, load_image_folder
from sel_edge.data.sources import load_splits
from sel_edge.data.spec import DataSpec

Pack = Callable[[Path, dict[str, bytes]], Path]
Encode = Callable[..., bytes]

CAT = "pets/train/cat/0.png"


def refusal(path: Path, keys: str = "") -> str:
    with pytest.raises(DataError) as caught:
        load_splits(f"{path}{keys}")
    message = str(caught.value)
    assert str(path) in message, "the file is named"
    assert caught.value.action, "a way out is named"
    return message


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.zip", "set"])
@pytest.mark.parametrize("kind", ["", "folder:", "cifar10:"])
def test_every_packing_gives_the_same_arrays(
    name: str, kind: str, tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    shuffled = dict(sorted(image_files.items(), key=lambda item: item[0][::-1]))
    expected = load_splits(str(pack(tmp_path / "reference", image_files)))
    spec = f"{kind}{pack(tmp_path / name, shuffled)}"
    splits = load_splits(spec)
    assert splits.source == spec
    assert splits.train.classes == ("cat", "dog")
    assert splits.train.frames.shape == (6, 8, 8, 3)
    assert splits.test.frames.shape == (4, 8, 8, 3)
    assert splits.train.frames.dtype == np.uint8
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for mine, theirs in ((splits.train, expected.train), (splits.test, expected.test)):
        assert np.array_equal(mine.frames, theirs.frames)
        assert np.array_equal(mine.labels, theirs.labels)


def test_pixels_are_those_of_the_files(tmp_path: Path, pack: Pack, encode: Encode) -> None:
    pictures = {
        f"{split}/{name}/x.png": np.full((2, 3, 3), value, dtype=np.uint8)
        for value, (split, name) in enumerate(
            [("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")]
        )
    }
    files = {name: encode(pixels) for name, pixels in pictures.items()}
    splits = load_splits(str(pack(tmp_path / "set.zip", files)))
    assert splits.train.frames[:, 0, 0, 0].tolist() == [0, 1]
    assert splits.test.frames[:, 0, 0, 0].tolist() == [2, 3]


@pytest.mark.parametrize("packing", ["set.tar", "set"])
@pytest.mark.parametrize("prefix", ["", "a/", "a/b/c/", "train/", "test/"])
def test_any_common_prefix(
    prefix: str, packing: str, tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    files = {prefix + name.removeprefix("pets/"): data for name, data in image_files.items()}
    assert len(load_splits(str(pack(tmp_path / packing, files))).train) == 6


def test_droppings_and_files_beside_the_splits_are_passed_over(
    tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    extra = ("pets/README.md", "pets/train/cat/.DS_Store", "__MACOSX/train/cat/0.png", "x.txt")
    files = dict.fromkeys(extra, b"x") | image_files
    assert len(load_splits(str(pack(tmp_path / "set.zip", files))).train) == 6


def test_classes_are_kept_in_the_order_of_the_data_set(
    tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    more = {name.replace("cat", "ant"): data for name, data in image_files.items() if "cat" in name}
    path = pack(tmp_path / "set", image_files | more)
    splits = load_splits(f"{path}?classes=dog,ant")
    assert splits.train.classes == ("ant", "dog")
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    everything = load_splits(str(path))
    assert np.array_equal(splits.train.frames, everything.train.frames[[0, 1, 2, 6, 7, 8]])
    assert "fewer than two" in refusal(path, "?classes=dog")
    assert "no class named 'cow'" in refusal(path, "?classes=dog,cow")


def test_gray_images_have_one_channel(tmp_path: Path, pack: Pack, encode: Encode) -> None:
    files = {
        f"{split}/{name}/x.png": encode(np.full((4, 4), 9, dtype=np.uint8))
        for split in ("train", "test")
        for name in ("a", "b")
    }
    path = pack(tmp_path / "set", files)
    assert load_splits(str(path)).train.frames.shape == (2, 4, 4, 1)
    assert load_splits(f"{path}?mode=rgb").train.frames.shape == (2, 4, 4, 3)


def test_size_and_mode_convert_and_the_note_says_so(
    tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    splits = load_splits(f"{pack(tmp_path / 'set', image_files)}?size=5&mode=gray")
    assert splits.train.frames.shape == (6, 5, 5, 1)
    assert splits.note == "resized to 5x5, converted to gray"


def unplain_images() -> dict[str, tuple[np.ndarray, str]]:
    ramp = np.arange(64).reshape(8, 8)
    return {
        "gray": (ramp.astype(np.uint8), "gray"),
        "rgba": (np.stack([ramp] * 4, axis=-1).astype(np.uint8), "RGBA"),
        "16-bit": ((ramp * 1000).astype(np.uint16), "16-bit"),
        "larger": (np.zeros((8, 9, 3), dtype=np.uint8), "9x8"),
    }


@pytest.mark.parametrize("name", unplain_images())
def test_what_needs_converting_is_refused_and_converted_on_request(
    name: str, tmp_path: Path, pack: Pack, encode: Encode, image_files: dict[str, bytes]
) -> None:
    pixels, says = unplain_images()[name]
    files = image_files | {"pets/train/cat/2.png": encode(pixels)}
    path = pack(tmp_path / "set.tar.gz", files)
    message = refusal(path)
    assert "pets/train/cat/2.png" in message
    assert says in message
    remedy = "?size=32" if name == "larger" else "?mode=rgb"
    assert remedy in message
    converted = load_splits(f"{path}{remedy}").train.frames[2]
    assert converted.shape[-1] == 3
    if name == "16-bit":
        assert np.array_equal(converted[..., 0], pixels >> 8)


def test_16_bit_color_is_seen_where_the_decoder_hides_it(
    tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    deep = b"P6 8 8 65535\n" + bytes(range(128)) * 3
    message = refusal(pack(tmp_path / "set.zip", image_files | {CAT: deep}))
    assert "16-bit" in message
    assert CAT in message


@pytest.mark.parametrize("content", [b"", b"just some text\n", b"\xff\xd8\xff\xe0 no jpeg"])
def test_a_text_file_named_jpg(
    content: bytes, tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    files = image_files | {"pets/test/dog/notes.jpg": content}
    assert "pets/test/dog/notes.jpg" in refusal(pack(tmp_path / "set", files))


def test_a_cut_off_image(tmp_path: Path, pack: Pack, image_files: dict[str, bytes]) -> None:
    files = image_files | {CAT: image_files[CAT][:-40]}
    message = refusal(pack(tmp_path / "set.zip", files))
    assert f"1 bad image: {CAT} (" in message
    assert "truncated" in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pets/test/dog": None}, "test/dog is missing"),
        ({"pets/train/dog": None, "pets/test/dog": None}, "fewer than two classes"),
        ({"pets/test": None}, "test/cat is missing"),
        ({"pets/train/cat/deep/0.png": b""}, "deeper"),
        ({"pets/train/stray.png": b""}, "no class folder"),
        ({"farm/train/cat/0.png": b""}, "two data sets"),
        ({"pets": None, "notes/a.txt": b""}, "nothing that looks like a data set"),
    ],
)
def test_wrong_layouts(
    change: dict[str, bytes | None],
    says: str,
    tmp_path: Path,
    pack: Pack,
    image_files: dict[str, bytes],
) -> None:
    files = dict(image_files)
    for name, content in change.items():
        if content is None:
            files = {key: data for key, data in files.items() if not key.startswith(name + "/")}
        else:
            files[name] = image_files[CAT]
    assert says in refusal(pack(tmp_path / "set.tar", files))


def test_an_empty_class_folder(tmp_path: Path, pack: Pack, image_files: dict[str, bytes]) -> None:
    path = pack(tmp_path / "set", image_files)
    for split in ("train", "test"):
        (path / "pets" / split / "emu").mkdir()
    assert "train/emu is empty" in refusal(path)


def test_an_image_of_too_many_pixels(
    tmp_path: Path,
    pack: Pack,
    encode: Encode,
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 100)
    files = image_files | {CAT: encode(np.zeros((11, 10), dtype=np.uint8))}
    assert "too many pixels" in refusal(pack(tmp_path / "set", files))
    bomb = b"P6 20000 20000 255\n"
    assert "too many pixels" in refusal(pack(tmp_path / "bomb", image_files | {CAT: bomb}))


def test_more_images_than_memory(
    tmp_path: Path,
    pack: Pack,
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = image_files | {
        f"pets/train/cat/more{number}.png": image_files[CAT] for number in range(70)
    }
    monkeypatch.setattr(limits, "decoded_bytes_limit", lambda: 64 * 8 * 8 * 3 - 1)
    assert "MiB" in refusal(pack(tmp_path / "set", files))


def test_images_that_just_fit_the_limit_are_taken_and_one_more_is_not(
    tmp_path: Path,
    pack: Pack,
    encode: Encode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    image = encode(pixels)
    files = {
        f"{split}/{name}/{number}.png": image
        for split in ("train", "test")
        for name in ("a", "b")
        for number in range(25)
    }
    path = pack(tmp_path / "set", files)
    limit = len(files) * pixels.nbytes
    monkeypatch.setattr(limits, "decoded_bytes_limit", lambda: limit)
    assert len(load_splits(str(path)).train) == 50
    (path / "train" / "a" / "one-more.png").write_bytes(image)
    assert "MiB" in refusal(path)


def test_decoding_holds_each_image_once(
    tmp_path: Path, pack: Pack, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    shape = (128, 128, 3)
    files = {
        f"{split}/{name}/{number}.png": encode(rng.integers(0, 256, shape).astype(np.uint8))
        for number in range(40)
        for name in ("b", "a")
        for split in ("train", "test")
    }
    path = pack(tmp_path / "set.tar", files)
    n_bytes = len(files) * 128 * 128 * 3
    monkeypatch.setattr(limits, "decoded_bytes_limit", lambda: n_bytes)
    load_image_folder(path, DataSpec("path", str(path)), "")  # imports of Pillow's plug-ins
    tracemalloc.start()
    splits = load_image_folder(path, DataSpec("path", str(path)), "")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert splits.train.frames.nbytes + splits.test.frames.nbytes == n_bytes
    assert peak < 1.4 * n_bytes


def test_a_large_first_image_takes_no_room_for_others(
    tmp_path: Path, pack: Pack, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = encode(np.zeros((100, 100, 3), dtype=np.uint8))
    files = {f"{split}/{n}/x.png": image for split in ("train", "test") for n in ("a", "b")}
    path = pack(tmp_path / "set", files)
    monkeypatch.setattr(limits, "decoded_bytes_limit", lambda: 29_999)
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 10_000)
    assert "MiB" in refusal(path)


@given(order=st.permutations(range(12)))
def test_images_end_in_the_order_of_their_names(order: list[int]) -> None:
    images = np.arange(12, dtype=np.uint8)[:, None, None, None].copy()
    expected = images[order]
    _reorder(images, order)
    assert np.array_equal(images, expected)


def test_a_missing_path(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere.tar")
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_a_path_with_reserved_characters(
    tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    pack(tmp_path / "a+b?c", image_files)
    assert len(load_splits(f"{tmp_path}/a%2Bb%3Fc").train) == 6
