"""The sample store as the runtime uses it: it alone puts frames in and takes answers out."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.core.files import canonical_json, storage_errors, take_lock
from sel_edge.core.frames import Frames
from sel_edge.runtime.samples.answers import move_to_labelled
from sel_edge.runtime.samples.database import SampleFile
from sel_edge.runtime.samples.desk import LabelDesk
from sel_edge.runtime.samples.frame import Form, Frame, FrameId, frame_id, parse_id
from sel_edge.runtime.samples.recent import RecentFrames
from sel_edge.runtime.samples.records import Labelled, SampleSettings, Source, Taken
from sel_edge.runtime.samples.rows import candidate_from_row, labelled_from_row
from sel_edge.runtime.samples.value import TeachingValue
from sel_edge.runtime.samples.waiting import Candidate, TeachingQueue, unit
from sel_edge.runtime.samples.writes import share_fairly, write_labelled, write_waiting

TAKEN_AT_ONCE = 256
"""Answers that one call takes at most, for the sake of memory."""


@dataclass
class _Unsaved:
    """What the next flush writes.

    Attributes:
        frames: id -> content, of frames that wait.
        labels: id -> labelled frame.
        division: id -> whether the guard keeps it.
    """

    frames: dict[str, Frame] = field(default_factory=dict)
    labels: dict[str, Labelled] = field(default_factory=dict)
    division: dict[str, bool] = field(default_factory=dict)


class SampleStore(LabelDesk):
    """Frames that wait for a label, and labelled frames, in one file that survives power cuts.

    What the runtime sees and decides is gathered in memory and written by `flush`, so that a frame
    that waits only for a moment costs no flash; a power cut loses what was not flushed. Answers
    given at a desk are durable at once. One process at a time may open a store this way; desks may
    be open meanwhile.

    Args:
        path: the file; made if there is none, with its directory.
        settings: bounds.
        clock: seconds since 1970.

    Attributes:
        last_answer: of all answers so far; what to ask `take_answers` with first, after everything
            in `labelled` was taken in.

    Raises:
        RunDirectoryError: damaged, no sample store, of another schema, or in use by a runtime.
        StorageError: the disk is full, read-only or failing.
    """

    def __init__(
        self,
        path: Path,
        settings: SampleSettings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings = settings or SampleSettings()
        with ExitStack() as undo:
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                undo.callback(os.close, take_lock(path.with_name(f".{path.name}.lock"), path))
            super().__init__(path, clock)
            undo.callback(super().close)
            self._form_seen = self._form()
            self._class_names = self._saved_classes = self.classes
            entries = self._waiting_entries()
            self._queue = TeachingQueue(settings.waiting, settings.min_distance, entries)
            self._saved = {entry.id for entry in entries}
            latest = self._file.row("SELECT MAX(seq) AS seq FROM answers")
            self.last_answer = 0 if latest is None else int(latest["seq"] or 0)
            self._to_close = undo.pop_all()
        self._recent = RecentFrames(settings.recent, settings.recent_bytes)
        self._unsaved = _Unsaved()
        self._flushed = self._clock()

    def name_classes(self, classes: Sequence[str]) -> None:
        """Say which classes the network knows, for those who answer; written by `flush`."""
        self._class_names = tuple(classes)

    def observe(
        self,
        first: int,
        frames: Frames,
        predicted: Sequence[str],
        values: Sequence[TeachingValue],
        features: NDArray[np.float32],
    ) -> None:
        """Remember a batch of frames, and let those wait for a label that would teach most.

        Args:
            first: number of the first frame; numbers grow.
            frames: uint8 [n, H, W, C] or float32 [n, ...].
            predicted: n class names.
            values: n teaching values.
            features: float32 [n, F].

        Raises:
            DataError: the frames have another form than those in the store.
        """
        if not len(frames):
            return
        self._check_form(frames[0])
        seen = self._clock()
        units = unit(features)
        for position, frame in enumerate(frames):
            number, value = first + position, values[position]
            self._recent.add(number, frame)
            if not self._queue.hopeful(predicted[position], value.score):
                continue
            name = frame_id(number, frame)
            description = (name, number, predicted[position], value.score, value.reason)
            if self._queue.offer(Candidate(*description, units[position], seen)):
                self._unsaved.frames[name] = frame.copy()
        self._queue.expire(first - self._settings.max_age_frames)
        for name in self._unsaved.frames.keys() - self._queue.names:
            del self._unsaved.frames[name]

    def label(
        self,
        number: int,
        label: str,
        held_out: bool | None = None,
        source: Source = "stream",
    ) -> Labelled | None:
        """Label one of the remembered frames; written by `flush`.

        Args:
            number: of the frame; it may have come hundreds of frames ago.
            label: class name.
            held_out: whether the guard keeps it, if that is decided.
            source: who says so.

        Returns:
            The labelled frame, or None if nothing is remembered of it.
        """
        found = self._find(FrameId(number, None))
        if found is None:
            return None
        name, frame = found
        sample = Labelled(name, number, frame, label, source, held_out, self._clock())
        self._queue.settle([name])
        self._unsaved.frames.pop(name, None)
        self._unsaved.labels[name] = sample
        if len(self._unsaved.labels) > self._settings.labelled:  # nothing could be written for long
            del self._unsaved.labels[next(iter(self._unsaved.labels))]
        return sample

    def divide(self, held_out: Mapping[str, bool]) -> None:
        """Say of labelled frames, by id, whether the guard keeps them; written by `flush`."""
        self._unsaved.division.update(held_out)

    def labelled(self) -> Iterator[Labelled]:
        """All labelled frames in the file in the order of their numbers, those not useful left out.

        One at a time, because together they may be larger than a board's memory. For a runtime
        that starts: what was labelled and not flushed is not among them.
        """
        form = self._form()
        names = "SELECT id FROM labelled WHERE label IS NOT NULL ORDER BY number, id"
        for name in self._file.rows(names):
            row = self._file.row("SELECT * FROM labelled WHERE id = ?", name["id"])
            if row is not None:
                with self._intact():
                    sample = labelled_from_row(row, form)
                yield sample

    def has_answers(self, since: int) -> bool:
        """Whether `take_answers` would find any.

        Args:
            since: as there.
        """
        return self._file.row("SELECT 1 FROM answers WHERE seq > ? LIMIT 1", since) is not None

    def take_answers(self, since: int) -> Taken:
        """The frames that were answered at desks since this was last asked, some at a time.

        Answers to frames that no longer wait find them among the recent ones; those to frames
        that nobody remembers are counted.

        Args:
            since: `last` of the answers taken before, at first `last_answer`.
        """
        query = "SELECT * FROM answers WHERE seq > ? ORDER BY seq LIMIT ?"
        answers = self._file.rows(query, since, TAKEN_AT_ONCE)
        if not answers:
            return Taken((), since)
        with self._file.writing():
            names = list(dict.fromkeys(self._settled(row) for row in answers))
            query = "SELECT * FROM labelled WHERE id = ?"
            rows = [self._file.row(query, name) for name in names]
        self._queue.settle(names)
        self._saved -= set(names)
        for name in names:
            self._unsaved.frames.pop(name, None)
            self._unsaved.labels.pop(name, None)
        last = int(answers[-1]["seq"])
        self.last_answer = max(self.last_answer, last)
        form = self._form()
        with self._intact():
            samples = tuple(labelled_from_row(row, form) for row in rows if row is not None)
        return Taken(samples, last)

    def flush(self) -> None:
        """Write what is new in one transaction; nothing is written if nothing is.

        Raises:
            RunDirectoryError: another process held the store for ten seconds.
            StorageError: the disk is full, read-only or failing; the next flush tries again.
        """
        self._flushed = self._clock()
        waiting = {entry.id: entry for entry in self._queue.entries}
        gone = self._saved - waiting.keys()
        added = [waiting[name] for name in self._unsaved.frames]
        classes_changed = self._class_names != self._saved_classes
        if not (gone or added or classes_changed or self._unsaved.labels or self._unsaved.division):
            return
        with self._file.writing():
            if classes_changed:
                self._file.note("classes", canonical_json(self._class_names).decode())
            if self._form_seen is not None and self._form() is None:
                self._set_form(self._form_seen)
            for name in gone:
                self._file.change("DELETE FROM waiting WHERE id = ?", name)
            for entry in added:
                write_waiting(self._file, entry, self._unsaved.frames[entry.id])
            for sample in self._unsaved.labels.values():
                write_labelled(self._file, sample)
            for name, held_out in self._unsaved.division.items():
                query = "UPDATE labelled SET held_out = ? WHERE id = ?"
                self._file.change(query, int(held_out), name)
            share_fairly(self._file, self._settings.labelled, self.last_answer)
        self._saved, self._saved_classes = set(waiting), self._class_names
        self._unsaved = _Unsaved()

    def flush_if_due(self) -> None:
        """Flush if the last time is as long ago as the settings say; errors as of `flush`."""
        # A clock that was set back makes it due, too.
        if abs(self._clock() - self._flushed) >= self._settings.flush_s:
            self.flush()

    def close(self) -> None:
        """Flush, and let others open the store."""
        with self._to_close:
            self.flush()

    def _opened(self, path: Path) -> SampleFile:
        return SampleFile(path, create=True)

    def _waiting_entries(self) -> list[Candidate]:
        query = "SELECT id, number, predicted, score, reason, seen, feature FROM waiting"
        with self._intact():
            return [candidate_from_row(row) for row in self._file.rows(query)]

    def _check_form(self, frame: Frame) -> None:
        form = Form.of(frame)
        if self._form_seen is None:
            self._form_seen = form
        if form != self._form_seen:
            raise DataError(
                f"The frames are {form}.",
                f"The sample store {self.path} holds frames {self._form_seen}.",
                "Use the state directory of the bundle it was begun with, or a new one.",
            )

    def _find(self, wanted: FrameId) -> tuple[str, Frame] | None:
        """Id and content of a frame that is remembered, waits, or was labelled."""
        frame = self._recent.get(wanted)
        if frame is not None:
            return frame_id(wanted.number, frame), frame
        labelled = {name: sample.frame for name, sample in self._unsaved.labels.items()}
        for name, unsaved in (self._unsaved.frames | labelled).items():
            if _is(wanted, name):
                return name, unsaved
        with self._intact():
            form = self._form()
            for table in ("waiting", "labelled"):
                query = f"SELECT id, frame FROM {table} WHERE number = ?"  # noqa: S608
                for row in self._file.rows(query, wanted.number):
                    if form is not None and _is(wanted, str(row["id"])):
                        return str(row["id"]), form.decode(row["frame"])
        return None

    def _settled(self, answer: sqlite3.Row) -> str:
        """Give an answered frame its label if it has none yet; returns its full id."""
        name = str(answer["id"])
        if self._file.row("SELECT 1 FROM labelled WHERE id = ?", name):
            return name
        label, source, given = answer["label"], answer["source"], answer["given"]
        if move_to_labelled(self._file, name, label, source, given):
            return name
        found = self._find(parse_id(name))
        if found is None:
            if int(answer["seq"]) > self.last_answer:
                self._file.count("unknown", 1)
            return name
        full, frame = found
        if self._form() is None:
            self._set_form(Form.of(frame))
        number = parse_id(full).number
        write_labelled(self._file, Labelled(full, number, frame, label, source, None, given))
        if full != name:
            query = "UPDATE OR REPLACE answers SET id = ? WHERE seq = ?"
            self._file.change(query, full, int(answer["seq"]))
        return full


def _is(wanted: FrameId, name: str) -> bool:
    held = parse_id(name)
    return held.number == wanted.number and wanted.digest in (None, held.digest)
