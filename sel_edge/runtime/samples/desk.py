"""Where people and files answer: any process, and any thread with a desk of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from sel_edge.core.closing import Closing
from sel_edge.core.files import canonical_json
from sel_edge.runtime.samples.answers import Answer, apply, complete, forget_oldest
from sel_edge.runtime.samples.database import SAMPLES, SampleFile, Written
from sel_edge.runtime.samples.files import Known, Problems, Statement, read_csv, read_folder
from sel_edge.runtime.samples.frame import DTYPES, Form, Frame, FrameId, digest, parse_id
from sel_edge.runtime.samples.records import (
    Counts,
    ImportReport,
    Outcome,
    Source,
    Waiting,
    parse_label,
)
from sel_edge.runtime.samples.rows import waiting_from_row

SAMPLES_FILE = "samples.sqlite"
ANSWERS_AT_ONCE = 64
"""Answers of a file in one transaction, so that no other process waits long."""
_WRONG_VALUES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


class LabelDesk(Closing):
    """The sample store as it looks to those who answer.

    Usable while the runtime runs. An answer that was returned from is durable. One object serves
    one thread.

    Args:
        path: the store.
        clock: seconds since 1970.

    Raises:
        RunDirectoryError: missing, damaged, no sample store, of another schema, or busy for long.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path, self._clock = path, clock
        self._file = self._opened(path)

    @property
    def written(self) -> Written:
        """What this object wrote so far."""
        return self._file.written

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the runtime knows, in its order; empty before it said so."""
        noted = self._file.noted("classes") or "[]"
        with self._intact():
            names = json.loads(noted)
            return tuple(str(name) for name in names)

    def queue(self, limit: int) -> list[Waiting]:
        """The frames whose labels would teach most, best first.

        Args:
            limit: at most so many, 0 or more.
        """
        with self._intact(), self._file.reading():
            form = self._form()
            query = "SELECT * FROM waiting ORDER BY score DESC, id LIMIT ?"
            return [waiting_from_row(row, form) for row in self._file.rows(query, max(limit, 0))]

    def frame(self, name: str) -> Frame | None:
        """The content of a frame that waits or is labelled; None if the store does not hold it.

        Args:
            name: its id.
        """
        with self._intact(), self._file.reading():
            form = self._form()
            for table in ("waiting", "labelled"):
                row = self._file.row(f"SELECT frame FROM {table} WHERE id = ?", name)  # noqa: S608
                if row is not None and form is not None:
                    return form.decode(row["frame"])
            return None

    def counts(self) -> Counts:
        """What the store holds."""
        with self._file.reading():
            query = "SELECT label, COUNT(*) AS frames FROM labelled GROUP BY label"
            labelled = {row["label"]: int(row["frames"]) for row in self._file.rows(query)}
            waiting = self._file.rows("SELECT COUNT(*) AS frames FROM waiting")
            return Counts(
                waiting=int(waiting[0]["frames"]),
                labels={str(name): n for name, n in labelled.items() if name is not None},
                not_useful=labelled.get(None, 0),
                conflicts=self._file.counted("conflicts"),
                unknown=self._file.counted("unknown"),
            )

    def answer(self, name: str, label: str | None, source: Source = "person") -> Outcome:
        """Answer for one frame, durably.

        Args:
            name: its id, or its number alone.
            label: class name; None or "not useful" if it cannot be told or teaches nothing.
            source: who answers.

        Raises:
            DataError: no id, or no class name.
            RunDirectoryError: another process held the store for ten seconds.
            StorageError: the disk is full, read-only or failing; nothing was changed.
        """
        label = None if label is None else parse_label(label)
        answer = Answer(parse_id(name), label, source, "", self._clock())
        with self._file.writing():
            outcome = apply(self._file, answer)
            forget_oldest(self._file)
        return outcome

    def import_answers(self, path: Path) -> ImportReport:
        """Take the answers of a CSV file, or of a folder or archive of images sorted by class.

        A path that is not there yet has no answers. Reading the same again changes nothing.

        Args:
            path: see `files`.

        Raises:
            DataError: the whole file or folder cannot be used.
            RunDirectoryError: another process held the store for ten seconds.
            StorageError: the disk is full, read-only or failing.
        """
        if not path.exists():
            return ImportReport()
        problems = Problems()
        statements = (
            read_folder(path, self._known(), problems)
            if path.is_dir() or path.suffix in (".tar", ".gz", ".tgz", ".zip")
            else read_csv(path, problems)
        )
        origin = str(path.resolve())
        outcomes = [
            outcome
            for few in _chunks(statements, ANSWERS_AT_ONCE)
            for outcome in self._take(few, origin)
        ]
        return ImportReport(tuple(outcomes), tuple(problems.told), problems.count)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _opened(self, path: Path) -> SampleFile:
        return SampleFile(path, create=False)

    def _take(self, statements: list[Statement], origin: str) -> list[Outcome]:
        given = self._clock()
        with self._file.writing():
            outcomes = []
            for said in statements:
                if said.frame is not None and self._form() is None:
                    self._set_form(Form.of(said.frame))
                answer = Answer(said.id, said.label, "file", origin, given, said.frame)
                outcomes.append(apply(self._file, answer))
            forget_oldest(self._file)
        return outcomes

    def _known(self) -> Known:
        return Known(self._holds, self._match, self._form())

    def _holds(self, wanted: FrameId) -> bool:
        name = str(complete(self._file, wanted))
        return any(
            self._file.row(f"SELECT 1 FROM {table} WHERE id = ?", name)  # noqa: S608
            for table in ("waiting", "labelled", "answers")
        )

    def _match(self, frame: Frame) -> FrameId | None:
        """The frame with this content."""
        suffix = f"-{digest(frame)}"
        query = (
            "SELECT id FROM waiting WHERE substr(id, -9) = ?1 "
            "UNION SELECT id FROM labelled WHERE substr(id, -9) = ?1 ORDER BY id"
        )
        found = self._file.row(query, suffix)
        return None if found is None else parse_id(str(found["id"]))

    def _form(self) -> Form | None:
        noted = self._file.noted("form")
        if noted is None:
            return None
        with self._intact():
            dtype, shape = json.loads(noted)
            if dtype not in DTYPES:
                raise ValueError(f"it holds frames of {dtype}")
            return Form(str(dtype), tuple(int(side) for side in shape))

    def _set_form(self, form: Form) -> None:
        """Keep the form of frames; inside a transaction."""
        self._file.note("form", canonical_json([form.dtype, form.shape]).decode())

    @contextmanager
    def _intact(self) -> Iterator[None]:
        """Inside, values that no sample store holds end in an error that says so."""
        try:
            yield
        except (*_WRONG_VALUES, RecursionError) as error:
            raise SAMPLES.damaged(self.path, str(error)) from error


def _chunks(statements: Iterable[Statement], size: int) -> Iterator[list[Statement]]:
    rest = iter(statements)
    while few := list(islice(rest, size)):
        yield few
