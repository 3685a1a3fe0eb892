"""Whatever a network is to be changed by is checked here: it may come from outside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.domain import INPUT, LENS_RINGS, MAX_GAIN, Norm, Selected
from sel_edge.core.errors import BundleError
from sel_edge.runtime.head import Head


def require_numbers(name: str, value: NDArray[np.float32]) -> None:
    """Refuse what is not finite float32.

    Raises:
        BundleError: it is not.
    """
    if value.dtype != np.float32 or not np.isfinite(value).all():
        raise unfit(name, f"{value.dtype} {list(value.shape)}, or not finite")


def require_rows(name: str, parameter: NDArray[np.float32], rows: Selected) -> None:
    """Refuse rows that do not fit a parameter, float32 [R, ...].

    Raises:
        BundleError: a row is out of range or named twice, or of another shape or dtype, or not
            finite.
    """
    indices, values = rows
    whole = indices.ndim == 1 and indices.dtype == np.int64
    in_range = bool(((indices >= 0) & (indices < len(parameter))).all())
    different = len(np.unique(indices)) == indices.size
    fits = values.shape == (indices.size, *parameter.shape[1:])
    if not whole or not in_range or not different or not fits:
        raise unfit(name, f"{list(values.shape)} in {indices.size} rows")
    require_numbers(name, values)


def require_own_rows(name: str, parameter: NDArray[np.float32], rows: Selected) -> None:
    """Refuse rows that a domain cannot have to itself.

    Raises:
        BundleError: as for `require_rows`, or there are none, or they do not ascend.
    """
    require_rows(name, parameter, rows)
    if not len(rows[0]) or (np.diff(rows[0]) < 0).any():
        raise unfit(name, "given in no rows, or in rows that do not ascend")


def require_place(number: int, place: NDArray[np.floating], size: int) -> None:
    """Refuse a place.

    Args:
        number: of the domain.
        place: of its frames.
        size: how many numbers it must have.

    Raises:
        BundleError: of another shape, or not finite.
    """
    if place.shape != (size,) or not np.isfinite(place).all():
        detail = f"at a place of {list(place.shape)} numbers where {size} are due, or not finite"
        raise unfit(f"of domain {number}", detail)


def require_norm(norm: Norm, channels: dict[str, int]) -> None:
    """Refuse a normalization.

    Args:
        norm: scale and shift of each layer.
        channels: how many output channels each layer has that can be normalized.

    Raises:
        BundleError: of another layer, or of another shape or dtype, or not finite.
    """
    for name, pair in norm.items():
        if name == INPUT:
            _require_lens(*pair)
            continue
        if name not in channels:
            raise unfit(name, "no layer that can be normalized")
        for value in pair:
            fits = value.shape == (channels[name],) and value.dtype == np.float32
            if not fits or not np.isfinite(value).all():
                raise unfit(name, f"to be scaled by {value.dtype} {list(value.shape)}")


def _require_lens(gains: NDArray[np.float32], shift: NDArray[np.float32]) -> None:
    for value in (gains, shift):
        if value.shape != (LENS_RINGS,):
            raise unfit(INPUT, f"to be filtered by {list(value.shape)} gains")
        require_numbers(INPUT, value)
    if (gains < 0).any() or (gains > MAX_GAIN).any() or shift.any():
        raise unfit(INPUT, f"to be filtered by gains outside 0..{MAX_GAIN:g}, or shifted")


def require_head(
    head: Head, names: tuple[str, str], classes: tuple[str, ...], features: int
) -> None:
    """Refuse a classifier.

    Args:
        head: new.
        names: of its weight and its bias.
        classes: which its own begin with.
        features: how many it is to take.

    Raises:
        BundleError: other classes or features, or numbers that are not finite float32.
    """
    count = len(head.classes)
    distinct = len(set(head.classes)) == count and head.classes[: len(classes)] == classes
    if head.weight.shape != (count, features) or not distinct:
        raise unfit(names[0], str(list(head.weight.shape)))
    if head.bias.shape != (count,):
        raise unfit(names[1], str(list(head.bias.shape)))
    for name, value in zip(names, (head.weight, head.bias), strict=True):
        require_numbers(name, value)


def unfit(name: str, detail: str) -> BundleError:
    """The error for a parameter that is not as it must be."""
    return BundleError(
        f"The parameter {name} is {detail}, which does not fit the network.",
        "Finite float32 numbers of the shapes and classes of the same bundle are expected.",
        "Use what was made for the same bundle.",
    )
