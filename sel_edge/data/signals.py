"""Signals in a text file: a row of numbers for each, its label first or last; plain or gzipped."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.data import limits
from sel_edge.data.dataset import Splits, split_off_test
from sel_edge.data.members import archive_errors

MAX_LINE_BYTES = 2**24
_LARGEST_WHOLE = 2.0**53
"""Labels that are whole numbers up to here are written as such."""

Row = NDArray[np.float32]


def load_signals(path: Path, label: Literal["first", "last"], channels: int, sha256: str) -> Splits:
    """Read labelled signals; a fifth of every class is the test set, always the same.

    Numbers stand apart by commas or semicolons, whichever the first row has, else by blanks or
    tabs; empty lines do not count. A row has one label and the same number of samples as every
    other: its first channel from beginning to end, then the next. Labels that are all whole numbers
    are classes ordered by value and named without a fraction ("1.0000e+00" is "1"), others are
    ordered by name.

    Args:
        path: a UTF-8 text file or a gzipped one, as those of the UCR time series archive.
        label: where in a row the label is.
        channels: of each signal, at least 1.
        sha256: of the content, put into the result.

    Returns:
        Signals float32 [N, channels, length].

    Raises:
        DataError: the file is damaged or too large, rows differ in length, a sample is missing or
            no finite number, or a class has a single signal.
    """
    rows: list[Row] = []
    labels: list[str] = []
    n_bytes = 0
    separator: str | None = None
    for number, line in _lines(path):
        if not rows:
            separator = next((mark for mark in ",;" if mark in line), None)
        name, row = _parse(path, number, line.split(separator), label)
        n_bytes += max(row.nbytes, len(line))
        limits.check_decoded_bytes(path, n_bytes, "Divide it into smaller files.")
        if rows and len(row) != len(rows[0]):
            found = f"has {len(row):,} samples, and rows before it {len(rows[0]):,}"
            raise _refused(path, number, found)
        rows.append(row)
        labels.append(name)
    if not rows or len(rows[0]) % channels:
        size = f"{len(rows[0]):,} samples for {channels:,} channels" if rows else "no rows"
        raise DataError(
            f"{path} has {size}.",
            "Rows with as many samples for every channel are expected.",
            "Correct channels=, or check that this is the right file.",
        )
    signals = np.stack(rows).reshape(len(rows), channels, -1)
    return split_off_test(signals, _targets(labels), str(path), sha256)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1."""
    with archive_errors(path), path.open("rb") as plain:
        zipped = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        file = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if zipped else plain
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise _refused(path, number, f"is longer than {MAX_LINE_BYTES:,} bytes")
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                yield number, text


def _parse(path: Path, number: int, fields: list[str], label: str) -> tuple[str, Row]:
    """Label and samples of a row."""
    name = fields.pop(0 if label == "first" else -1).strip()
    if not name or not fields:
        raise _refused(path, number, "has no label" if fields else "has a label and no samples")
    for field in fields:
        if not _is_number(field):
            raise _refused(path, number, f"has {field.strip()[:40]!r} where a sample should be")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and found below
        row = np.array([float(field) for field in fields]).astype(np.float32)
    if not np.isfinite(row).all():
        raise _refused(path, number, "has a sample that is NaN, infinite or beyond float32")
    return name, row


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field  # which Python allows in numbers, and nobody else does


def _targets(labels: list[str]) -> NDArray[Any]:
    """The labels as whole numbers int64 [N], if they all are, else as text."""
    if all(_is_number(label) for label in labels):
        numbers = np.array([float(label) for label in labels])
        if ((numbers == np.rint(numbers)) & (np.abs(numbers) <= _LARGEST_WHOLE)).all():
            return numbers.astype(np.int64)
    return np.array(labels)


def _refused(path: Path, number: int, found: str) -> DataError:
    return DataError(
        f"Line {number:,} of {path} {found}.",
        "A row has a label and as many finite numbers as every other row; the file has no header.",
        "Correct the line, or say where the label is: ?label=first or ?label=last.",
    )
