"""`sel-edge watch`: keep of a video what is new in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TimeRemainingColumn

from sel_edge.bundle.bundle import open_bundle
from sel_edge.cli.finite import FiniteRange
from sel_edge.cli.options import threads_option
from sel_edge.core.errors import ConfigError
from sel_edge.core.files import require_free, storage_errors, write_atomic
from sel_edge.report.wording import counted, duration, percent, printable

REPORT_FILE = "report.json"
CAP = re.compile(r"(\d+(?:\.\d+)?)\s*(%|kB|MB|GB|B)?")
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
roll_type = FiniteRange(0.0, 60.0)


@click.command("watch")
@click.argument("video", type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    required=True,
    help="Its network says what is known; one for images.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="New directory for the clips."
)
@click.option(
    "--pre-roll",
    "pre_roll_s",
    type=roll_type,
    default=2.0,
    show_default=True,
    help="Seconds to keep before a novel thing.",
)
@click.option(
    "--post-roll",
    "post_roll_s",
    type=roll_type,
    default=2.0,
    show_default=True,
    help="Seconds to keep after it.",
)
@click.option(
    "--cap",
    default="10%",
    show_default=True,
    help="Storage for all clips: a share of the video's own size, or bytes such as 500MB. Until "
    "the end up to twice as much.",
)
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    help="Times of novel things, to be scored against: a CSV with the columns start_s and end_s, "
    "and maybe group and name.",
)
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON line.")
def command(
    video: Path,
    bundle: Path,
    out: Path,
    pre_roll_s: float,
    post_roll_s: float,
    cap: str,
    truth: Path | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Keep of the file VIDEO, from a camera that stands still, what is novel.

    What moves is followed and looked at. A thing is novel the first two times it comes; the
    stranger it looks to the network, the more often it must come until it is usual. Clips of what
    has become usual go, and when the cap is reached the most boring ones, the oldest first. The
    clips lie in OUT beside index.json and report.json, which says how much storage was saved, and
    what a recorder of motion would have kept.
    """
    from sel_edge.watch.report import report
    from sel_edge.watch.truth import read_truth
    from sel_edge.watch.video import open_video
    from sel_edge.watch.watch import WatchSettings, watch

    events = None if truth is None else read_truth(truth)
    network, source = open_bundle(bundle), open_video(video)
    settings = WatchSettings(pre_roll_s, post_roll_s, _cap_bytes(cap, source.bytes), threads)
    require_free(out)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("watching", total=source.announced or None)
        watched = watch(
            source, network, out, settings, lambda frames: bar.update(task, completed=frames)
        )
    found = report(source, watched, events)
    write_atomic(out / REPORT_FILE, json.dumps(found, indent=1).encode() + b"\n")
    if as_json:
        click.echo(json.dumps(found))
        return 0
    for line in _in_words(found):
        click.echo(line)
    return 0


def _cap_bytes(text: str, video_bytes: int) -> int:
    """Bytes that a cap allows.

    Raises:
        ConfigError: it is neither a share nor a size.
    """
    match = CAP.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ConfigError(
            f"--cap {text} is neither a share nor a size.",
            "A share such as 10% or a size such as 800kB, 500MB or 2GB is expected.",
            "Correct --cap.",
        )
    if match[2] == "%":
        return int(video_bytes * float(match[1]) / 100)
    return int(float(match[1]) * UNITS[match[2] or "B"])


def _in_words(found: dict[str, Any]) -> list[str]:
    kept, moved, truth = found["kept"], found["motion_only"], found["truth"]
    rows = [
        ("kept", kept["seconds"], found["storage_saved"], "missed"),
        ("motion only", moved["seconds"], found["storage_saved_by_motion_only"], "motion"),
        ("keep all", found["seconds"], 0.0, "keep_all"),
    ]
    lines = [
        f"{counted(found['passes'], 'visit')} of {counted(found['things'], 'thing')}, "
        f"{counted(kept['clips'], 'clip')} kept; {found['became_usual']} became usual, "
        f"{found['crowded_out']} crowded out by the cap",
        "",
        f"{'':<12} {'time':>10} {'storage saved':>14} {'novel missed':>13}",
    ]
    lost = _missed(truth)
    lines += [
        f"{name:<12} {duration(seconds):>10} {percent(saved):>14} {lost[key]:>13}"
        for name, seconds, saved, key in rows
    ]
    if truth is not None:
        lines += [
            f"{printable(name) or 'all'}: {group['novel']} of {group['events']} missed"
            for name, group in truth["groups"].items()
        ]
    if not found["complete"]:
        lines.append("The video ended before the frames that it announces: it is damaged.")
    return lines


def _missed(truth: dict[str, Any] | None) -> dict[str, str]:
    """Events that each way of keeping missed, in words."""
    if truth is None:
        return dict.fromkeys(("missed", "motion", "keep_all"), "unknown")
    ways = {"missed": "missed", "motion": "missed_by_motion_only", "keep_all": "missed_by_keep_all"}
    return {key: f"{truth[way]} of {truth['events']}" for key, way in ways.items()}
