"""Answers that come as a file: a CSV of `id,label`, or images sorted into folders named by class.

Both may be incomplete when they are read, and are read again later. What cannot be used is told,
line by line, and the rest is taken.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from sel_edge.core.errors import DataError
from sel_edge.core.files import storage_errors
from sel_edge.data import limits
from sel_edge.data.decode import Decoder, strict_decoding
from sel_edge.data.jpeg_note import JpegCensus
from sel_edge.data.members import Member, iterate_members
from sel_edge.runtime.samples.answers import ANSWERS_KEPT
from sel_edge.runtime.samples.frame import Form, Frame, FrameId, digest, parse_id
from sel_edge.runtime.samples.records import parse_label

PROBLEMS_TOLD = 100


@dataclass(frozen=True)
class Statement:
    """One answer of a file.

    Attributes:
        id: of the frame.
        label: class name, None for not useful.
        frame: its content, where the file brings a frame along that the store does not hold.
    """

    id: FrameId
    label: str | None
    frame: Frame | None = None


@dataclass
class Problems:
    """What could not be used, in sentences for people.

    Attributes:
        told: the first hundred.
        count: all of them.
    """

    told: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, text: str) -> None:
        """Tell one."""
        self.count += 1
        if len(self.told) < PROBLEMS_TOLD:
            self.told.append(text)


@dataclass(frozen=True)
class Known:
    """What the reader of a folder asks the store.

    Attributes:
        holds: whether there is a frame, or an answer already, for this id.
        match: the frame whose content this is, or None.
        form: that frames have; None as long as there are none.
    """

    holds: Callable[[FrameId], bool]
    match: Callable[[Frame], FrameId | None]
    form: Form | None


def read_csv(path: Path, problems: Problems) -> Iterator[Statement]:
    """Read a CSV file in UTF-8; of several rows for one id the last one counts.

    Args:
        path: the file; rows are `id,label`, the first may be that heading.
        problems: rows that cannot be used are told here, with their line numbers.

    Raises:
        DataError: no file, or too large.
        StorageError: it cannot be read.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is no file.",
            "Answers come as a CSV file, or as a folder or archive of sorted images.",
            "Check the path.",
        )
    with storage_errors(path):
        size = path.stat().st_size
        lines = path.read_bytes().splitlines() if size <= limits.MAX_MEMBER_BYTES else []
    if size > limits.MAX_MEMBER_BYTES or len(lines) > ANSWERS_KEPT + 1:
        raise DataError(
            f"{path} has {size:,} bytes in {len(lines):,} or more lines.",
            f"A file of answers has at most {ANSWERS_KEPT:,} rows.",
            "Divide it into several files.",
        )
    latest: dict[FrameId, tuple[int, str | None]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = _row(line, is_first=number == 1)
        except (DataError, csv.Error, UnicodeDecodeError) as error:
            found = error.found if isinstance(error, DataError) else f"Not readable: {error}."
            problems.add(f"Line {number}: {found}")
            continue
        if row is None:
            continue
        frame, label = row
        if frame in latest and latest[frame][1] != label:
            problems.add(f"Line {number}: {frame} had another label in line {latest[frame][0]}.")
        latest[frame] = (number, label)
    for frame, (_, label) in latest.items():
        yield Statement(frame, label)


def read_folder(path: Path, known: Known, problems: Problems) -> Iterator[Statement]:
    """Read images in folders named by class: named by their ids, or recognized by their content.

    An image whose name is an id of the store is not looked into; a number alone, as cameras and
    data sets name their images, is no id here. One that was exported and then
    left the queue brings its frame along: its name says what its content must be. A frame that
    lies in folders of two classes keeps the first.

    Args:
        path: a folder, .tar, .tar.gz or .zip; images that lie in no folder are not sorted yet.
        known: the store.
        problems: files that cannot be used are told here.

    Raises:
        DataError: the folder or archive is damaged or hostile.
    """
    decoder = Decoder(str(path), None, None, JpegCensus())
    seen: dict[FrameId, str | None] = {}
    with strict_decoding():
        for member in iterate_members(path):
            if member.is_folder or len(member.parts) < 2:
                continue
            try:
                statement = _statement(member, known, decoder)
            except DataError as error:
                problems.add(error.found)
                continue
            if statement is None:
                problems.add(f"{member.name} is none of the frames.")
            elif statement.id not in seen:
                seen[statement.id] = statement.label
                yield statement
            elif seen[statement.id] != statement.label:
                problems.add(f"{member.name} lies in the folder of another class, too.")


def _row(line: bytes, is_first: bool) -> tuple[FrameId, str | None] | None:
    """Id and label of one line; None for an empty one and the heading."""
    text = line.decode("utf-8-sig" if is_first else "utf-8")
    if not text.strip():
        return None
    fields = next(csv.reader([text], strict=True))
    if is_first and [field.strip().casefold() for field in fields] == ["id", "label"]:
        return None
    if len(fields) != 2:
        raise DataError(
            f"There are {len(fields)} fields.", "A row has two: id,label.", "Correct the row."
        )
    return parse_id(fields[0]), parse_label(fields[1])


def _statement(member: Member, known: Known, decoder: Decoder) -> Statement | None:
    label = parse_label(member.parts[-2])
    named = _exported_as(member)
    if named is not None and known.holds(named):
        return Statement(named, label)
    frame = decoder.decode(member.name, member.read())
    if named is not None:
        is_it = named.digest == digest(frame) and known.form in (None, Form.of(frame))
        return Statement(named, label, frame if is_it else None)
    match = known.match(frame)
    return None if match is None else Statement(match, label)


def _exported_as(member: Member) -> FrameId | None:
    """The whole id that an image is named by, as `sel-edge label --export` does."""
    try:
        named = parse_id(PurePath(member.parts[-1]).stem)
    except DataError:
        return None
    return None if named.digest is None else named
