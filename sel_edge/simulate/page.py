"""One self-contained HTML page about simulated days, without scripts and without requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from sel_edge.core.ledger import Balances
from sel_edge.core.solar import DAY_S, HOUR_S
from sel_edge.report import palette
from sel_edge.report.wording import percent, printable
from sel_edge.simulate import charts
from sel_edge.simulate.board import WAKE_SHARE, Supply
from sel_edge.simulate.diary import Diary
from sel_edge.simulate.summary import Summary, in_words
from sel_edge.simulate.thermal import ROOM_CELSIUS, TIME_CONSTANT_S

MOST_ROWS = 40
"""Of decisions told on the page; all of them are in the ledger."""


@dataclass(frozen=True)
class Setting:
    """What was simulated, for people.

    Attributes:
        bundle: the network's place.
        source: SPEC of the stream.
        profile: name of the board.
        facts: what else was chosen, name -> value.
    """

    bundle: str
    source: str
    profile: str
    facts: dict[str, str]


def render(
    setting: Setting,
    diary: Diary,
    summary: Summary,
    supply: Supply,
    celsius_max: float | None,
    balances: Sequence[Balances],
) -> str:
    """The page as HTML.

    Args:
        setting: what was simulated.
        diary: with at least one moment.
        summary: its sums.
        supply: the battery and its sun.
        celsius_max: above which nothing is learned.
        balances: of the runtime's wallet.
    """
    environment = jinja2.Environment(
        autoescape=True,
        finalize=_text,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = resources.files("sel_edge.simulate") / "page.html.j2"
    css = resources.files("sel_edge.report") / "page.css"
    told = [
        (_when(time_s), decision.kind.replace("_", " "), decision.reason)
        for time_s, decision in diary.decisions()
    ]
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        style=palette.css_variables() + css.read_text(encoding="utf-8"),
        setting=setting,
        sentences=in_words(summary),
        charts=_charts(diary, supply, celsius_max, balances),
        told=told[:MOST_ROWS],
        untold=len(told) - MOST_ROWS,
        wake=percent(WAKE_SHARE, 0),
        room=f"{ROOM_CELSIUS:g}",
        constant=f"{TIME_CONSTANT_S:g}",
    )


def _charts(
    diary: Diary, supply: Supply, celsius_max: float | None, balances: Sequence[Balances]
) -> list[tuple[str, Markup]]:
    drawn = (
        ("Battery and limits", charts.wallet_chart(diary, supply.capacity_j, balances)),
        ("Power", charts.power_chart(diary)),
        ("Temperature", charts.warmth_chart(diary, celsius_max)),
        ("Decisions", charts.decisions_chart(diary)),
        ("Accuracy", charts.accuracy_chart(diary)),
    )
    return [(title, chart) for title, chart in drawn if chart is not None]


def _when(time_s: float) -> str:
    """Seconds since the start as a day, counted from 1, and a time of day."""
    day, rest = divmod(time_s, DAY_S)
    hour, rest = divmod(rest, HOUR_S)
    return f"day {int(day) + 1}, {int(hour):02d}:{int(rest // 60):02d}"


def _text(value: Any) -> Any:
    """Whatever the template shows, without control characters; markup is ours and stays."""
    return value if isinstance(value, Markup) else printable(str(value))
