"""From a data SPEC to images or signals: finds out what a source is and has it read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from sel_edge.core.errors import DataError
from sel_edge.data.cache import cached
from sel_edge.data.cifar import CIFAR_FILES, load_cifar
from sel_edge.data.convert import convert_splits
from sel_edge.data.dataset import Splits, class_numbers, keep_classes
from sel_edge.data.digits import load_digits_splits
from sel_edge.data.download import cifar10_archive
from sel_edge.data.imagefolder import SPLITS, load_image_folder
from sel_edge.data.members import content_hash, iterate_members
from sel_edge.data.npz import load_npz
from sel_edge.data.signals import load_signals
from sel_edge.data.spec import DataSpec, parse_data

Form = Literal["images", "cifar", "npz", "signals"]

_FORMS: dict[str, Form] = {"folder": "images", "npz": "npz", "signals": "signals"}


def load_splits(spec: str) -> Splits:
    """Load the training and test set that a data SPEC names (grammar: `spec`).

    Returns:
        Splits whose `source` is `spec` as given.

    Raises:
        DataError: the SPEC or the source cannot be used; the message says what to do.
        MissingDependencyError: a built-in source needs a package or download that is not there.
    """
    return replace(load_source(parse_data(spec)), source=spec)


def load_source(spec: DataSpec) -> Splits:
    """Load the data set of a parsed SPEC; errors as `load_splits`."""
    splits = _load_all_classes(replace(spec, classes=()))
    _check_names(spec, splits.train.classes)
    numbers = class_numbers(splits.train.classes, spec.classes, spec.place())
    if len(numbers or splits.train.classes) < 2:
        raise DataError(
            f"{spec} holds fewer than two classes.",
            "Learning to tell classes apart takes at least two.",
            "Add a class to the data, or name more of them in classes=.",
        )
    if not numbers:
        return splits
    return replace(
        splits,
        train=keep_classes(splits.train, numbers),
        test=keep_classes(splits.test, numbers),
    )


def _check_names(spec: DataSpec, classes: tuple[str, ...]) -> None:
    """Refuse names that arrays and pickles can hold and UTF-8 cannot."""
    for name in classes:
        if name.encode(errors="replace").decode() != name:
            raise DataError(
                f"{spec} has a class named {name!a}, which is not UTF-8.",
                "Class names become parts of records, which are UTF-8.",
                "Rename the class.",
            )


def _load_all_classes(spec: DataSpec) -> Splits:
    if spec.kind == "digits":
        return convert_splits(load_digits_splits(str(spec)), spec.size, spec.mode)
    path = Path(spec.path) if spec.path else cifar10_archive()
    form = _FORMS[spec.kind] if spec.kind in _FORMS else _form_of(path)
    sha256 = content_hash(path)
    if form == "npz":
        as_images = spec.size is not None or spec.mode is not None
        return convert_splits(load_npz(path, sha256, as_images), spec.size, spec.mode)
    if form == "signals":
        return load_signals(path, spec.label, spec.channels, sha256)

    def decode() -> Splits:
        if form == "cifar":
            return convert_splits(load_cifar(path, sha256), spec.size, spec.mode)
        return load_image_folder(path, spec, sha256)

    return cached(sha256, {"form": form} | spec.keys(), decode)


def _form_of(path: Path) -> Form:
    """What `path` holds, judged by the first member whose name tells."""
    for member in iterate_members(path):
        if member.parts[-1] in CIFAR_FILES:
            return "cifar"
        if any(part in SPLITS for part in member.parts):
            return "images"
        if member.parts[-1].endswith(".npy"):
            return "npz"
    raise DataError(
        f"{path} holds nothing that looks like a data set.",
        "A data set has images in train/<class>/ and test/<class>/, or is a CIFAR-10 archive or "
        "an .npz with x and y; rows of numbers in a text file are signals:PATH.",
        "Check that this is the right file.",
    )
