"""The image-folder layout ``train/<class>/*`` and ``test/<class>/*`` in a folder or archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.data import limits
from sel_edge.data.bad_images import BadImages
from sel_edge.data.dataset import Dataset, Splits
from sel_edge.data.decode import FORMATS, BadImageError, Decoder, strict_decoding
from sel_edge.data.jpeg_note import JpegCensus
from sel_edge.data.members import Member, iterate_members
from sel_edge.data.spec import DataSpec

SPLITS = ("train", "test")
_LAYOUT = (
    "Images lie in train/<class>/ and test/<class>/, with one common prefix or none, "
    "and both splits have the same classes."
)


def load_image_folder(path: Path, spec: DataSpec, sha256: str) -> Splits:
    """Decode every image of `path` in one pass; order is that of the names, whatever the archive's.

    Args:
        path: folder, .tar, .tar.gz or .zip.
        spec: its `size`, `mode` and `skip_bad` are applied; its `classes` are not.
        sha256: of the content, put into the result.

    Raises:
        DataError: the layout is another, the splits disagree, or an image cannot be used; those
            that cannot be decoded are named together.
    """
    layout = _Layout(path)
    decoder = Decoder(str(path), spec.size, spec.mode, JpegCensus())
    images = _ImageStack(path)
    names: list[tuple[str, str, str]] = []
    bad = BadImages()
    with strict_decoding():
        for member in iterate_members(path):
            place = layout.place(member)
            if not place:
                continue
            try:
                images.append(member.name, decoder.decode(member.name, member.read()))
            except BadImageError as error:
                bad.add(member.name, error.why)
            else:
                names.append(place)
    classes = layout.classes()
    if bad.count:
        _check_bad(path, spec, bad, set(product(SPLITS, classes)) - {name[:2] for name in names})
    # Test before train, as their names sort: each split is one run of the array, and no copy.
    order = sorted(range(len(names)), key=names.__getitem__)
    labels = np.array([classes.index(names[index][1]) for index in order], dtype=np.int64)
    pixels = images.in_order(order)
    n_test = sum(split == "test" for split, _, _ in names)
    test = Dataset(pixels[:n_test], labels[:n_test], classes)
    train = Dataset(pixels[n_test:], labels[n_test:], classes)
    note = ", ".join(filter(None, (decoder.census.note(), _changes(spec, bad))))
    return Splits(train, test, str(spec), sha256, note, bad)


def _check_bad(
    path: Path, spec: DataSpec, bad: BadImages, emptied: Collection[tuple[str, str]]
) -> None:
    """Refuse bad images unless `spec` skips them and no class folder was `emptied` by that."""
    if not spec.skip_bad:
        raise DataError(
            f"{path} holds {bad}.",
            f"Every file in a class folder is an undamaged image ({', '.join(FORMATS)}) of at most "
            f"{limits.MAX_IMAGE_PIXELS:,} pixels.",
            "Replace or remove them, or train without them: `sel-edge pretrain --skip-bad`, or "
            "?bad=skip in the SPEC of any command.",
        )
    if emptied:
        raise DataError(
            f"The class folder {'/'.join(min(emptied))} in {path} is empty without {bad}.",
            _LAYOUT,
            "Replace them by good copies, or remove the class from both splits.",
        )


class _Layout:
    """Sorts members into splits and classes, and checks that they agree."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._prefix: tuple[str, ...] | None = None
        self._counts: Counter[tuple[str, str]] = Counter()
        self._folders: list[tuple[str, ...]] = []

    def place(self, member: Member) -> tuple[str, str, str] | None:
        """Split, class and file name of an image; None for folders and files beside the splits."""
        parts = member.parts
        if member.is_folder:
            self._folders.append(parts)
            return None
        # The last place that leaves room for a class and a file counts, so that a prefix or a
        # class may itself be called train or test.
        at = max((at for at, part in enumerate(parts[:-2]) if part in SPLITS), default=None)
        if at is None:
            if any(part in SPLITS for part in parts[:-1]):
                raise self._error(f"{member.name} in {self._path} lies in no class folder.")
            return None
        if len(parts) != at + 3:
            raise self._error(f"{member.name} in {self._path} lies deeper than a class folder.")
        if self._prefix is None:
            self._prefix = parts[:at]
        if parts[:at] != self._prefix:
            first, other = ("/".join(prefix) or "the top" for prefix in (self._prefix, parts[:at]))
            raise self._error(f"{self._path} holds two data sets, under {first} and {other}.")
        split, name, file = parts[at:]
        self._counts[split, name] += 1
        return split, name, file

    def classes(self) -> tuple[str, ...]:
        """The class names, sorted, each with an image in both splits."""
        if self._prefix is None:
            raise self._error(f"{self._path} holds no images in train/<class>/ and test/<class>/.")
        folders = {
            (parts[-2], parts[-1])
            for parts in self._folders
            if len(parts) >= 2 and parts[:-2] == self._prefix and parts[-2] in SPLITS
        }
        names = sorted({name for _, name in folders | self._counts.keys()})
        for split in SPLITS:
            for name in names:
                if not self._counts[split, name]:
                    state = "is empty" if (split, name) in folders else "is missing"
                    raise self._error(f"The class folder {split}/{name} {state} in {self._path}.")
        return tuple(names)

    def _error(self, found: str) -> DataError:
        return DataError(found, _LAYOUT, "Arrange the files in this way.")


class _ImageStack:
    """One growing uint8 array [N, H, W, C] of equal images that stays within the memory limit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first = ""
        self._count = 0
        self._buffer: NDArray[np.uint8] = np.empty((0, 0, 0, 0), dtype=np.uint8)

    def append(self, name: str, image: NDArray[np.uint8]) -> None:
        if self._count == 0:
            self._first = name
            self._buffer = np.empty((0, *image.shape), dtype=np.uint8)
        if image.shape != self._buffer.shape[1:]:
            raise self._mismatch(name, image.shape)
        if self._count == len(self._buffer):
            self._grow(image.nbytes)
        self._buffer[self._count] = image
        self._count += 1

    def in_order(self, order: Sequence[int]) -> NDArray[np.uint8]:
        """All images, image `order[i]` at place i; the stack is of no use afterwards."""
        self._resize(self._count)
        _reorder(self._buffer, order)
        return self._buffer

    def _grow(self, image_bytes: int) -> None:
        """Twice the room, or as much of it as the limit leaves."""
        remedy = "Add ?size=32 or another small size to its SPEC."
        limits.check_decoded_bytes(self._path, (self._count + 1) * image_bytes, remedy)
        self._resize(min(max(1, 2 * self._count), limits.decoded_bytes_limit() // image_bytes))

    def _resize(self, count: int) -> None:
        # In place: the operating system moves pages instead of copying, so memory never doubles.
        self._buffer.resize((count, *self._buffer.shape[1:]), refcheck=False)

    def _mismatch(self, name: str, shape: tuple[int, ...]) -> DataError:
        expected = self._buffer.shape[1:]
        kinds = {1: "gray", 3: "RGB"}
        described = [f"{w}x{h} {kinds[c]}" for h, w, c in (shape, expected)]
        size = "size=32" if shape[:2] != expected[:2] else ""
        mode = "mode=rgb" if shape[2] != expected[2] else ""
        remedy = "&".join(filter(None, (size, mode)))
        return DataError(
            f"{name} in {self._path} is {described[0]}, but {self._first} is {described[1]}.",
            "All images of a data set have the same size and colour mode.",
            f"Add ?{remedy} (or another size or mode) to the SPEC to convert all of them.",
        )


def _reorder(images: NDArray[np.uint8], order: Sequence[int]) -> None:
    """Put `images[order[i]]` at every place i, with one image of extra memory."""
    done = np.zeros(len(order), dtype=np.bool_)
    for start in range(len(order)):
        if done[start] or order[start] == start:
            continue
        displaced, place = images[start].copy(), start
        while order[place] != start:
            images[place] = images[order[place]]
            done[place] = True
            place = order[place]
        images[place] = displaced
        done[place] = True


def _changes(spec: DataSpec, bad: BadImages) -> str:
    """What decoding did to the images on request, for the note."""
    resized = f"resized to {spec.size}x{spec.size}" if spec.size else ""
    converted = f"converted to {spec.mode}" if spec.mode else ""
    skipped = f"{bad.counted()} left out" if bad.count else ""
    return ", ".join(filter(None, (resized, converted, skipped)))
