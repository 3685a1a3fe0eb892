"""`sel-edge label`: the frames whose labels would teach a device most, and the answers."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from PIL import Image

from sel_edge.core.errors import DataError
from sel_edge.core.files import storage_errors, write_atomic
from sel_edge.report.wording import counted, printable
from sel_edge.runtime.samples import (
    NOT_USEFUL,
    SAMPLES_FILE,
    Counts,
    Frame,
    ImportReport,
    LabelDesk,
    Outcome,
    Waiting,
    parse_label,
)
from sel_edge.runtime.samples.frame import parse_id

HEADING = ("id", "prediction", "teaches", "why")
SHOWN_CLASS = 24
LONGEST_FOLDER_BYTES = 255


@click.command("label")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("answers", nargs=-1, metavar="[ID=CLASS]...")
@click.option("--not-useful", multiple=True, metavar="ID", help="Let a frame go; may be repeated.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="Answers in a CSV file with rows id,label, or images sorted into folders named by class "
    "(or a .tar, .tar.gz or .zip of them). May grow and be read again.",
)
@click.option(
    "--export",
    "folder",
    type=click.Path(path_type=Path),
    help="Write the listed frames there as PNG, beside a folder for each class to sort them into.",
)
@click.option(
    "--limit",
    type=click.IntRange(0, 100_000),
    default=20,
    show_default=True,
    help="Frames to list.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON line.")
def command(
    directory: Path,
    answers: tuple[str, ...],
    not_useful: tuple[str, ...],
    source: Path | None,
    folder: Path | None,
    limit: int,
    as_json: bool,
) -> int:
    """List the frames whose labels would teach most, and take answers.

    DIR is the state directory of `sel-edge run`, or that of a board of `sel-edge gateway`; they may
    be running. An answer is ID=CLASS, with an id from the list; a class that the network does not
    know yet becomes one with enough labels. The last answer for a frame counts.
    """
    given = [*map(_parsed, answers), *((_checked_id(name), None) for name in not_useful)]
    if source is not None and not source.exists():
        raise DataError(
            f"{source} does not exist.",
            "Answers come as a CSV file, or as a folder or archive of sorted images.",
            "Check the path.",
        )
    with LabelDesk(directory / SAMPLES_FILE) as desk:
        outcomes = [desk.answer(name, label) for name, label in given]
        report = ImportReport() if source is None else desk.import_answers(source)
        waiting, counts, classes = desk.queue(limit), desk.counts(), desk.classes
    if folder is not None:
        export(waiting, classes, folder)
    if as_json:
        click.echo(json.dumps(as_dict(waiting, counts, [*outcomes, *report.outcomes], report)))
        return 0
    for line in _answered(outcomes, classes) + _imported(report, source):
        click.echo(line)
    if not given and source is None:
        for line in [*table(waiting), *_summary(waiting, counts, directory)]:
            click.echo(line)
    if folder is not None:
        click.echo(f"Wrote {counted(len(waiting), 'frame')} to {folder}.")
    return 0


def export(waiting: list[Waiting], classes: tuple[str, ...], folder: Path) -> None:
    """Write frames as PNG files named by their ids, and an empty folder for each class.

    Raises:
        DataError: the frames are no images.
        StorageError: the folder cannot be written.
    """
    files = {f"{each.id}.png": png(each.frame) for each in waiting}
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*classes, NOT_USEFUL):
            if _can_name_a_folder(name):
                (folder / name).mkdir(exist_ok=True)
    for name, data in files.items():
        write_atomic(folder / name, data)


def png(frame: Frame) -> bytes:
    """A frame as a PNG file, from which exactly its pixels can be read back.

    Args:
        frame: uint8 [H, W, C] with C = 1 or 3.

    Raises:
        DataError: another form.
    """
    if frame.dtype != "uint8" or frame.ndim != 3 or frame.shape[2] not in (1, 3):
        raise DataError(
            f"The frames are {frame.dtype} {list(frame.shape)}, which is no image.",
            "Only gray and RGB images can be written as PNG.",
            "Answer by id, or with a CSV file.",
        )
    buffer = io.BytesIO()
    Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame).save(buffer, "PNG")
    return buffer.getvalue()


def table(waiting: list[Waiting]) -> list[str]:
    """Lines of a table with a row for each frame."""
    rows = [HEADING]
    for each in waiting:
        predicted = printable(each.predicted, SHOWN_CLASS)
        rows.append((each.id, predicted, f"{each.score:.2f}", printable(each.reason)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return lines if waiting else []


def as_dict(
    waiting: list[Waiting], counts: Counts, outcomes: list[Outcome], report: ImportReport
) -> dict[str, Any]:
    """Everything that the command has to say."""
    return {
        "waiting": [
            {
                "id": each.id,
                "frame": each.number,
                "predicted": each.predicted,
                "score": each.score,
                "reason": each.reason,
                "seen": each.seen,
            }
            for each in waiting
        ],
        "counts": asdict(counts),
        "answers": [asdict(outcome) for outcome in outcomes],
        "problems": list(report.problems),
        "problem_count": report.problem_count,
    }


def _can_name_a_folder(name: str) -> bool:
    """Whether a class, whose name may come from anybody, can be given a folder of that name."""
    is_plain = name == Path(name).name and not name.startswith(".") and name.isprintable()
    return is_plain and len(name.encode()) <= LONGEST_FOLDER_BYTES


def _parsed(text: str) -> tuple[str, str | None]:
    name, equals, label = text.partition("=")
    if not equals:
        raise DataError(
            f"{text[:80]!r} is no answer.",
            "An answer looks like f1234-a3f09c12=cat.",
            "Write ID=CLASS, with an id from the list that `sel-edge label` prints.",
        )
    return _checked_id(name), parse_label(label)


def _checked_id(text: str) -> str:
    return str(parse_id(text))


def _answered(outcomes: list[Outcome], classes: tuple[str, ...]) -> list[str]:
    return [f"{outcome.id}: {_effect(outcome, classes)}" for outcome in outcomes]


def _effect(outcome: Outcome, classes: tuple[str, ...]) -> str:
    label = _shown(outcome.label)
    if outcome.effect == "changed":
        return f"{label} instead of {_shown(outcome.before)}"
    if outcome.effect == "same":
        return f"{label}, as it was already"
    if outcome.effect == "deferred":
        return f"{label}, if the device still remembers this frame, which does not wait any more"
    is_new = bool(classes) and outcome.label is not None and outcome.label not in classes
    return f"{label}, a class that the network does not know yet" if is_new else label


def _shown(label: str | None) -> str:
    return NOT_USEFUL if label is None else printable(label)


def _imported(report: ImportReport, source: Path | None) -> list[str]:
    if source is None:
        return []
    effects = Counter(outcome.effect for outcome in report.outcomes)
    lines = [
        f"{counted(len(report.outcomes), 'answer')} in {source}: {effects['new']} new, "
        f"{effects['changed']} changed, {effects['same']} known already, {effects['deferred']} for "
        "frames that do not wait any more."
    ]
    lines += [f"Not used: {printable(problem)}" for problem in report.problems]
    if (more := report.problem_count - len(report.problems)) > 0:
        lines.append(f"Not used: {more:,} more.")
    return lines


def _summary(waiting: list[Waiting], counts: Counts, directory: Path) -> list[str]:
    labelled = sum(counts.labels.values())
    lines = [
        f"{counted(counts.waiting, 'frame')} waiting, {counted(labelled, 'labelled frame')}, "
        f"{counts.not_useful} not useful."
    ]
    if waiting:
        lines.append(f"Answer with: sel-edge label {directory} {waiting[0].id}=CLASS")
    if counts.conflicts:
        lines.append(f"{counted(counts.conflicts, 'answer')} contradicted an earlier one.")
    return lines
