"""Opening and writing bundles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sel_edge.bundle.external import external_places
from sel_edge.bundle.image import check_image
from sel_edge.bundle.keys import PublicKey
from sel_edge.bundle.manifest import (
    ANCHORS_FILE,
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    SCHEMA,
    WEIGHTS_FILE,
    Manifest,
    Member,
    parse_manifest,
)
from sel_edge.bundle.signature_file import SIGNATURE_FILE, read_signer
from sel_edge.bundle.tensors import map_tensors
from sel_edge.core.errors import BundleError
from sel_edge.core.files import new_directory, sha256_bytes, sha256_file
from sel_edge.core.frames import Frames, noun
from sel_edge.mcu.image import Image
from sel_edge.mcu.read import read_image

MIN_ANCHORS_PER_CLASS = 2
"""The fewest that work: one to replay, and one that only the guard sees."""

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Anchors:
    """A few samples of every class that stay with the network for life.

    Attributes:
        frames: images uint8 [A, H, W, C], or signals float32 [A, channels, length].
        labels: int64 [A], each in 0..K-1.
        features: float32 [A, F], as the bundle's graph computes them.
        moments: float32 [A, 2, C], likewise; None where it computes none.
    """

    frames: Frames
    labels: NDArray[np.int64]
    features: NDArray[np.float32]
    moments: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Bundle:
    """A directory whose every byte was checked against its manifest.

    Attributes:
        path: the directory.
        manifest: what it holds.
        signer: whose signature over the manifest it carries; None if it is not signed. Whether
            that key is trusted is another question, see `signature.require_signed`.
    """

    path: Path
    manifest: Manifest
    signer: PublicKey | None = None

    def member(self, name: str) -> Path:
        """Where a member lies; `name` is one of the manifest's."""
        return self.path / name

    def anchors(self) -> Anchors:
        """Read the anchors.

        Raises:
            BundleError: they do not fit the manifest.
        """
        view = self.manifest.preprocessing
        kind = f"{noun(view.frame_shape)}s"
        found = self._anchor_tensors(kind, "labels", "features")
        count = len(found[0]) if found[0].ndim else 0
        frames: Frames = _checked(
            found[0], view.dtype, (count, *view.frame_shape), f"anchor {kind}"
        )
        labels = _checked(found[1], np.int64, (count,), "anchor labels")
        features = _checked(
            found[2], np.float32, (count, self.manifest.features), "anchor features"
        )
        classes = len(self.manifest.classes)
        in_range = bool(((labels >= 0) & (labels < classes)).all())
        enough = in_range and np.bincount(labels, minlength=classes).min() >= MIN_ANCHORS_PER_CLASS
        finite = np.isfinite(features).all() and np.isfinite(frames).all()
        if not enough or not finite:
            raise BundleError(
                "The anchors of the bundle cannot be used.",
                f"At least {MIN_ANCHORS_PER_CLASS} of every class, of finite numbers, are due.",
                "Export the bundle again.",
            )
        return Anchors(frames, labels, features, self._anchor_moments(count))

    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The classifier's weight float32 [K, F] and bias float32 [K].

        Raises:
            BundleError: they do not fit the manifest, or are not finite.
        """
        manifest, classes = self.manifest, len(self.manifest.classes)
        weight, bias = self.parameter(manifest.head_weight), self.parameter(manifest.head_bias)
        return (
            _checked(weight, np.float32, (classes, manifest.features), "head weights"),
            _checked(bias, np.float32, (classes,), "head biases"),
        )

    def parameter(self, name: str) -> NDArray[np.float32]:
        """One tensor of the weights, read-only and mapped from the file.

        Raises:
            BundleError: there is none of that name, or it holds numbers that are not finite.
        """
        found = map_tensors(self.member(WEIGHTS_FILE))
        if name not in found:
            raise BundleError(
                f"{WEIGHTS_FILE} of the bundle {self.path} lacks the tensor {name}.",
                "A tensor for every parameter is expected.",
                "Export the bundle again.",
            )
        return _finite(name, found[name])

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Every tensor of the weights by its name, read from the file only where it is looked at.

        Whoever computes with them checks that they are finite.
        """
        return dict(map_tensors(self.member(WEIGHTS_FILE)))

    def mcu_image(self) -> Image:
        """The model image for microcontrollers.

        Raises:
            BundleError: there is none, or it is damaged.
        """
        mcu = self.manifest.mcu
        if mcu is None:
            raise BundleError(
                f"The bundle {self.path} holds no model image for microcontrollers.",
                "One that was exported with --target mcu is expected.",
                "Export it again with --target mcu --profile NAME.",
            )
        return read_image(self.member(mcu.file).read_bytes())

    def _anchor_moments(self, count: int) -> NDArray[np.float32] | None:
        moments = self.manifest.moments
        if moments is None:
            return None
        shape = (count, 2, moments.channels)
        found = self._anchor_tensors("moments")[0]
        return _finite("moments", _checked(found, np.float32, shape, "anchor moments"))

    def _anchor_tensors(self, *names: str) -> list[NDArray[Any]]:
        try:
            with safe_open(self.member(ANCHORS_FILE), framework="numpy") as file:
                return [file.get_tensor(name) for name in names]
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{ANCHORS_FILE} of the bundle {self.path} cannot be read: {error}.",
                f"A safetensors file with {', '.join(names)} is expected.",
                "Export the bundle again.",
            ) from error


def open_bundle(path: Path) -> Bundle:
    """Open a bundle after checking every byte of it.

    Raises:
        BundleError: it is no bundle, of another schema, damaged, incomplete, holds a file or link
            that does not belong to it, a signature that is not its own, a graph of it reads
            anything but its weights, or a rung trains what they do not hold.
    """
    try:
        return _open(path)
    except OSError as error:
        raise BundleError(
            f"The bundle {path} cannot be read: {error.strerror or error}.",
            "A directory that this user may read is expected.",
            "Check its permissions and the disk.",
        ) from error


def _open(path: Path) -> Bundle:
    present = _entries(path)
    if MANIFEST_FILE not in present:
        raise BundleError(
            f"{path} holds no {MANIFEST_FILE}.",
            "A bundle directory written by `sel-edge export` is expected.",
            "Check the path.",
        )
    if (path / MANIFEST_FILE).stat().st_size > MAX_MANIFEST_BYTES:
        raise _damaged(path, f"{MANIFEST_FILE} is larger than any manifest")
    manifest = parse_manifest((path / MANIFEST_FILE).read_bytes())
    if unexpected := sorted(present - {MANIFEST_FILE, SIGNATURE_FILE, *manifest.members}):
        raise _damaged(path, f"{unexpected[0]} does not belong to it")
    for name, member in manifest.members.items():
        _check_member(path, name, member)
    for name in manifest.members:
        if name.endswith(".onnx"):
            _check_external(path, name, manifest.members[WEIGHTS_FILE].bytes)
    _check_layers(path, manifest)
    if manifest.mcu is not None:
        check_image(read_image((path / manifest.mcu.file).read_bytes()), path, manifest)
    signature = path / SIGNATURE_FILE
    signer = read_signer(signature, manifest) if SIGNATURE_FILE in present else None
    return Bundle(path, manifest, signer)


def pack_anchors(
    frames: Frames,
    labels: NDArray[np.int64],
    features: NDArray[np.float32],
    moments: NDArray[np.float32] | None = None,
) -> bytes:
    """The content of anchors.safetensors; shapes and dtypes as in `Anchors`."""
    kind = f"{noun(frames.shape[1:])}s"
    tensors = {kind: frames, "labels": labels, "features": features}
    return save(tensors if moments is None else {**tensors, "moments": moments})


def write_bundle(
    path: Path,
    manifest: Manifest,
    members: Mapping[str, bytes],
    check: Callable[[Bundle], None] = lambda _: None,
) -> Bundle:
    """Write a new bundle aside, open it as anyone would, and rename it into place.

    Args:
        path: a directory that does not exist yet, or is empty.
        manifest: what the bundle holds; its members and schema are filled in here.
        members: content of every one of the manifest's `files`.
        check: looks at the bundle before it gets its place, and raises if it is not good enough.

    Raises:
        BundleError: the members or the manifest do not fit the format.
        RunDirectoryError: `path` already holds something.
        StorageError: the disk is full, read-only or failing.
    """
    listed = {
        name: Member(sha256=sha256_bytes(content), bytes=len(content))
        for name, content in members.items()
    }
    complete = replace(manifest, members=listed, schema=SCHEMA)
    with new_directory(path) as temporary:
        for name, content in {**members, MANIFEST_FILE: complete.to_json()}.items():
            (temporary / name).write_bytes(content)
        bundle = open_bundle(temporary)
        bundle.anchors()
        bundle.head()
        check(bundle)
    return Bundle(path, bundle.manifest)


def _entries(path: Path) -> set[str]:
    """Names in a directory that holds regular files only."""
    if not path.is_dir():
        raise BundleError(
            f"{path} is no directory.",
            "A bundle directory written by `sel-edge export` is expected.",
            "Check the path.",
        )
    names = set()
    for entry in path.iterdir():
        if entry.is_symlink() or not entry.is_file():
            raise _damaged(path, f"{entry.name} is no regular file")
        names.add(entry.name)
    return names


def _check_member(path: Path, name: str, member: Member) -> None:
    file = path / name
    if not file.is_file():
        raise _damaged(path, f"{name} is missing")
    if file.stat().st_size != member.bytes or sha256_file(file) != member.sha256:
        raise _damaged(path, f"{name} does not match the manifest")


def _check_external(path: Path, name: str, weights_bytes: int) -> None:
    for place in external_places((path / name).read_bytes()):
        if place.location != WEIGHTS_FILE or place.end > weights_bytes:
            raise BundleError(
                f"{name} of the bundle {path} reads {place.location!r} up to byte {place.end}.",
                f"A graph may read {WEIGHTS_FILE} only, which has {weights_bytes} bytes.",
                "Do not use this bundle; get it again from a source you trust.",
            )


def _check_layers(path: Path, manifest: Manifest) -> None:
    """Every layer of every rung has weights, and as many rows as are to be trained."""
    weights = map_tensors(path / WEIGHTS_FILE)
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    for name, rung in manifest.rungs.items():
        for layer in rung.layers:
            weight, bias = shapes.get(layer.weight, ()), shapes.get(layer.bias)
            fits = len(weight) >= 2 and bias == weight[:1] == shapes.get(layer.follows, ())[:1]
            if not fits or (layer.rows or 1) > weight[0]:
                raise BundleError(
                    f"The rung {name} of the bundle {path} trains {layer.rows or 'all'} rows of "
                    f"{layer.weight} {list(weight)} with {layer.bias}.",
                    f"As many rows, with a bias for each, are expected in {WEIGHTS_FILE}, and in "
                    "the layer that it follows.",
                    "Export the bundle again.",
                )


def _finite(name: str, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(tensor).all():
        raise BundleError(
            f"The tensor {name} of the bundle holds numbers that are not finite.",
            "Finite weights and biases are expected.",
            "Pretrain again; the training that made this bundle has diverged.",
        )
    return tensor


def _checked(
    tensor: NDArray[Any], dtype: type[Scalar], shape: tuple[int, ...], name: str
) -> NDArray[Scalar]:
    if tensor.dtype != dtype or tensor.shape != shape:
        raise BundleError(
            f"The {name} of the bundle are {tensor.dtype} {list(tensor.shape)}.",
            f"The manifest asks for {np.dtype(dtype)} {list(shape)}.",
            "Export the bundle again.",
        )
    return tensor


def _damaged(path: Path, detail: str) -> BundleError:
    return BundleError(
        f"The bundle {path} is damaged: {detail}.",
        "Exactly the files that its manifest names are expected, each with the hash it states.",
        "Copy the bundle again or export it again.",
    )
