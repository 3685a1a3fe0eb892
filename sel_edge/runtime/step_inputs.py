"""Whatever a training step is given is checked here, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.rungs import TrainedLayer
from sel_edge.core.errors import BundleError, DataError

Parameters = Mapping[str, NDArray[np.float32]]
"""Weights and biases by name."""
Shape = tuple[int | str, ...]
"""Sizes; a text is a size that is not known beforehand, the same wherever the text stands."""


def checked_parameters(given: Parameters, shapes: Mapping[str, Shape]) -> Parameters:
    """Those of the parameters that `shapes` has.

    Raises:
        BundleError: one is missing, of another shape or dtype, or not finite.
    """
    sizes: dict[int | str, int | str] = {}
    for name, shape in shapes.items():
        value = given.get(name)
        found = () if value is None else value.shape
        # A number stands for itself, a text for the first size that is found in its place.
        known = len(found) == len(shape) and all(
            sizes.setdefault(dim, dim if isinstance(dim, int) else size) == size
            for dim, size in zip(shape, found, strict=True)
        )
        if value is None or not known or value.dtype != np.float32 or not np.isfinite(value).all():
            raise _unfit(name, value, f"[{', '.join(map(str, shape))}]")
    return {name: given[name] for name in shapes}


def differing(bundle: Bundle, given: Parameters) -> Parameters:
    """Those of the parameters that are not the bundle's own.

    Raises:
        BundleError: the bundle has none of that name, or of that shape or dtype, or it is not
            finite.
    """
    found = {}
    for name, value in given.items():
        own = bundle.parameter(name)
        if value.shape != own.shape or value.dtype != own.dtype or not np.isfinite(value).all():
            raise _unfit(name, value, str(list(own.shape)))
        if not np.array_equal(value, own):
            found[name] = value
    return found


def checked_channels(layer: TrainedLayer, given: Any, parameters: Parameters) -> NDArray[np.int64]:
    """The rows of a layer that are to be trained, int64 [k].

    Raises:
        DataError: they are missing, repeated, out of range, or not as many as the rung trains.
    """
    rows = len(parameters[layer.bias])
    try:
        chosen = np.asarray([] if given is None else given)
    except ValueError:  # rows of different lengths
        chosen = np.zeros(0)
    whole = chosen.ndim == 1 and chosen.size > 0 and np.issubdtype(chosen.dtype, np.integer)
    in_range = whole and chosen.min() >= 0 and chosen.max() < rows
    different = in_range and len(np.unique(chosen)) == chosen.size
    if not different or chosen.size != (layer.rows or chosen.size):
        raise DataError(
            f"The channels chosen of {layer.weight} are {_some(chosen)}.",
            f"{layer.rows or 'Some'} different whole numbers from 0 to {rows - 1} are expected.",
            "Choose every channel at most once, and as many as the rung trains.",
        )
    return chosen.astype(np.int64)


def padded(latents: NDArray[np.float32], batch: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """A full batch, float32 [batch, ...], with the first sample again in the places left over.

    Raises:
        DataError: another shape or dtype, too many or none, or numbers that are not finite.
    """
    count = len(latents) if latents.ndim else 0
    if latents.dtype != np.float32 or latents.shape[1:] != tuple(shape) or not 1 <= count <= batch:
        raise DataError(
            f"The batch is {latents.dtype} of shape {list(latents.shape)}.",
            f"float32 of shape [1 to {batch}, {', '.join(map(str, shape))}] is expected.",
            "Compute latents with the engine of the same bundle, and split what is too long.",
        )
    if not np.isfinite(latents).all():
        bad = np.flatnonzero(~np.isfinite(latents.reshape(count, -1)).all(axis=1))
        raise DataError(
            f"Sample {bad[0]} of the batch has numbers that are not finite.",
            "Finite numbers are expected.",
            "Leave the sample out.",
        )
    # Another sample rather than zeros, which some networks divide by; it will weigh nothing.
    return np.concatenate([latents, np.repeat(latents[:1], batch - count, axis=0)])


def checked_targets(
    labels: NDArray[np.int64], weights: NDArray[np.float32] | None, count: int, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Labels int64 [count] and sample weights float32 [count]; without weights all weigh 1.

    Raises:
        DataError: another shape or dtype, a label out of range, weights that are negative, not
            finite or all zero.
    """
    labels = np.asarray(labels)
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"The labels are {labels.dtype} of shape {list(labels.shape)}.",
            f"{count} integers are expected, one per sample of the batch.",
            "Give every sample its label.",
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"The labels reach from {labels.min()} to {labels.max()}.",
            f"Labels from 0 to {classes - 1} are expected.",
            "Number the classes as the network does.",
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        used = np.ones(count, np.float32) if weights is None else np.asarray(weights, np.float32)
    usable = used.shape == (count,) and np.isfinite(used).all() and (used >= 0).all()
    if not usable or not used.any():
        raise DataError(
            f"The sample weights are {_some(used)}.",
            f"{count} finite numbers are expected, none negative, and not all zero.",
            "Correct the weights, or leave them out.",
        )
    return labels.astype(np.int64), used


def check_scalars(learning_rate: float, temperature: float) -> None:
    """Refuse a learning rate or temperature that cannot be used.

    Raises:
        DataError: one is not finite, or the temperature not above 0, as float32.
    """
    with np.errstate(over="ignore", under="ignore"):
        rate, heat = np.float32(learning_rate), np.float32(temperature)
    if not np.isfinite(rate) or not np.isfinite(heat) or heat <= 0:
        raise DataError(
            f"The learning rate is {learning_rate:g} and the temperature {temperature:g}.",
            "Finite numbers are expected, the temperature above 0.",
            "Correct them.",
        )


def _unfit(name: str, value: NDArray[Any] | None, shape: str) -> BundleError:
    there = "missing" if value is None else f"{value.dtype} {list(value.shape)}"
    return BundleError(
        f"The parameter {name} is {there}, or holds numbers that are not finite.",
        f"Finite float32 of shape {shape} are expected.",
        "Use the parameters of the same bundle.",
    )


def _some(values: NDArray[Any]) -> str:
    shown = values.ravel()[:8].tolist()
    return f"{shown}{' and more' if values.size > 8 else ''}"
