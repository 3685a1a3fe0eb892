"""Whether a model image for microcontrollers belongs to the bundle that holds it."""

from __future__ import annotations

import math
from pathlib import Path

from sel_edge.bundle.manifest import WEIGHTS_FILE, Manifest
from sel_edge.bundle.preprocessing import ImagePreprocessing, Preprocessing
from sel_edge.bundle.tensors import map_tensors
from sel_edge.core.errors import BundleError
from sel_edge.mcu.image import Image


def check_image(image: Image, path: Path, manifest: Manifest) -> None:
    """Refuse an image of another network.

    Args:
        image: read from the bundle.
        path: of the bundle.
        manifest: of the bundle, with an `mcu`.

    Raises:
        BundleError: it was made of other weights, classes, features or preprocessing, or needs
            another arena than the manifest says.
    """
    weights = map_tensors(path / WEIGHTS_FILE)
    sizes = {name: tensor.size for name, tensor in weights.items()}
    rows_fit = all(
        sizes.get(layer.weight) == len(layer.rows) * math.prod(layer.row_shape)
        for layer in image.layers
        if layer.has_weights
    )
    view = manifest.preprocessing
    fits = {
        "weights": image.weights_sha256 == manifest.members[WEIGHTS_FILE].sha256 and rows_fit,
        "classes": image.classes == manifest.classes,
        "classifier": image.layers[-1].weight == manifest.head_weight,
        "features": image.features == manifest.features,
        "frames": image.input_shape == _input_shape(view),
        "pixels": (image.pixels is not None) == isinstance(view, ImagePreprocessing),
        "arena": manifest.mcu is not None and image.arena_bytes == manifest.mcu.arena_bytes,
    }
    wrong = [name for name, good in fits.items() if not good]
    if wrong:
        raise BundleError(
            f"The model image of the bundle {path} has other {wrong[0]} than the bundle.",
            "An image that was made of this bundle is expected.",
            "Export the bundle again with --target mcu.",
        )


def _input_shape(view: Preprocessing) -> tuple[int, ...]:
    """Channels, height and width; a signal's height is 1."""
    channels, *sides = view.input_shape
    return (channels, *sides) if len(sides) == 2 else (channels, 1, *sides)
