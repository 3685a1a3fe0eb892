"""`sel-edge report`: one self-contained HTML page, without scripts and without requests."""

from __future__ import annotations

from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sel_edge.core.files import write_atomic
from sel_edge.report import palette, stream_view, view, wording
from sel_edge.report.numbers import Findings, gather
from sel_edge.report.story import tell
from sel_edge.report.timeline import HEAT_STEPS

PAGE_FILE = "report.html"


def write_report(directory: Path, out: Path | None = None) -> Path:
    """Write the page about everything in `directory`.

    Args:
        directory: holds ledgers, comparisons or pretraining runs, in it or below it.
        out: the page's file; report.html in `directory` if None. Replaced if it exists.

    Returns:
        The file written.

    Raises:
        RunDirectoryError: there is nothing to report, or something in it cannot be read.
        StorageError: the page cannot be written.
    """
    page = render(gather(directory))
    target = out if out is not None else directory / PAGE_FILE
    write_atomic(target, page.encode("utf-8", "replace"))
    return target


def render(found: Findings) -> str:
    """The page as HTML."""
    files = resources.files("sel_edge.report")
    environment = jinja2.Environment(
        autoescape=True,
        finalize=_text,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.from_string((files / "page.html.j2").read_text(encoding="utf-8"))
    style = palette.css_variables() + (files / "page.css").read_text(encoding="utf-8")
    return template.render(
        style=style,
        story=tell(found),
        name=found.directory.resolve().name,
        streams=[stream_view.view_stream(stream) for stream in found.streams],
        comparisons=[view.view_comparison(item) for item in found.comparisons],
        runs=[view.view_run(run) for run in found.runs],
        heat=_heat_words(),
        guard_rule=stream_view.GUARD_RULE,
        joules=stream_view.JOULES,
    )


def _text(value: Any) -> Any:
    """Whatever the template shows, without control characters; markup is ours and stays."""
    return value if isinstance(value, Markup) else wording.printable(str(value))


def _heat_words() -> list[str]:
    """What each step of the timeline's colours stands for."""
    lows = ("0", *(f"{step:g}" for step in HEAT_STEPS))
    steps = [f"{low}\u2013{high}" for low, high in pairwise(lows)]
    return [*steps, f"{lows[-1]}+"]
