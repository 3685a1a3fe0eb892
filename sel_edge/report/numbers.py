"""Find what a directory holds and return its numbers: the page's content as plain data."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from sel_edge.core.runlog import RUN_FILE, read_run
from sel_edge.report import compare, tables
from sel_edge.report.stream import Stream, sum_up
from sel_edge.report.system import System, system_of

SCHEMA = 2


@dataclass(frozen=True)
class Run:
    """A pretraining run: where it lies, its epochs and its result."""

    place: str
    system: System
    result: tables.SystemRow


@dataclass(frozen=True)
class Comparison:
    """What `sel-edge compare` left in a directory."""

    place: str
    directory: Path
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Findings:
    """All that a reported directory holds, each in the order of its path."""

    directory: Path
    streams: tuple[Stream, ...]
    comparisons: tuple[Comparison, ...]
    runs: tuple[Run, ...]


def collect(directory: Path) -> dict[str, Any]:
    """The numbers of everything in `directory`, as JSON can hold them.

    Keys: `schema`; `streams`, one per ledger, with sessions, segments, timeline bins, progress,
    costs, domains, decisions, updates, the wallet, the trigger's score and evaluations;
    `comparisons`, the content of each tables.json; `runs`, the result and the run.json of each
    pretraining run. Accuracies are shares of 1, energy is in joules per origin, embarrassment in
    nats; what is not known is null. Joules and seconds of `inference` and `watching` are shares, by
    FLOPs, of what was metered together; names with `predicted` were never measured.

    Raises:
        RunDirectoryError: `directory` holds nothing to report, or something unreadable.
    """
    found = gather(directory)
    plain = {
        "schema": SCHEMA,
        "streams": [_plain(stream) for stream in found.streams],
        "comparisons": [{"place": item.place, **item.numbers} for item in found.comparisons],
        "runs": [
            {"place": run.place, "result": asdict(run.result), "info": run.system.info}
            for run in found.runs
        ],
    }
    return {key: _finite(value) for key, value in plain.items()}


def gather(directory: Path) -> Findings:
    """Read every ledger, comparison and run log in `directory` and below.

    Raises:
        RunDirectoryError: there is none, or one cannot be read.
    """
    streams, comparisons, runs = [], [], []
    for path in _files(directory):
        place = str(path.parent.relative_to(directory))
        if path.name == LEDGER_FILE:
            streams.append(sum_up(read_ledger(path), place))
        elif path.name == compare.TABLES_FILE:
            comparisons.append(Comparison(place, path.parent, _read_tables(path)))
        elif path.name == RUN_FILE:
            log = read_run(path.parent)
            if log.history:
                system = system_of(log, _run_label(log.info))
                runs.append(Run(place, system, tables.system_row(system)))
    if not (streams or comparisons or runs):
        raise RunDirectoryError(
            f"{directory} holds nothing to report.",
            "A ledger, a comparison, or a pretraining run with at least one epoch is expected in "
            "it or below it.",
            "Check the path, or run `sel-edge run`, `sel-edge compare` or `sel-edge pretrain` "
            "with their output there.",
        )
    return Findings(directory, tuple(streams), tuple(comparisons), tuple(runs))


def _files(directory: Path) -> Iterator[Path]:
    """Files of the three kinds; hidden directories are half-written ones and are passed over."""
    wanted = {LEDGER_FILE, compare.TABLES_FILE, RUN_FILE}
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(wanted.intersection(files)):
            yield Path(folder) / name


def _read_tables(path: Path) -> dict[str, Any]:
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
        if numbers["schema"] != compare.SCHEMA:
            raise ValueError(f"its schema is {numbers['schema']}")
        compare.text_tables(numbers)
        for plot in numbers["plots"]:
            file, _, _ = plot["file"], plot["title"], plot["caption"]
            if file != Path(file).name or not file.endswith(".svg"):
                raise ValueError(f"{file!r} is no plot beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunDirectoryError(
            f"{path} is no comparison that can be read: {error}.",
            "A file written by this version's `sel-edge compare` is expected.",
            "Compare the runs again, or remove the file.",
        ) from error
    return dict(numbers)


def _run_label(info: Mapping[str, Any]) -> str:
    recipe = info.get("recipe")
    name = recipe.get("name") if isinstance(recipe, dict) else None
    return str(name or "run")


def _plain(value: Any) -> Any:
    """Dataclasses inside mappings and sequences as plain data."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value


def _finite(value: Any) -> Any:
    """The same data with null for numbers that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
