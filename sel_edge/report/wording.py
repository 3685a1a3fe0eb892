"""Numbers as people read them: percent, points, FLOP, joules, time, and what was saved or spent.

Every function takes None for "not known" and then returns an en dash.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

UNKNOWN = "\u2013"
MINUS = "\u2212"
NBSP = "\u00a0"
"""Keeps a number and its unit on one line."""
_SI = ("", "k", "M", "G", "T", "P", "E")
_COUNTED = {
    "rapl": "the whole processor package, idle power and other processes included",
    "nvml": "the GPU only, whatever runs on it",
    "profile": "this process's processor time times the profile's watts above idle",
}
"""What the joules of each kind of meter are."""
_CHANGED = {
    "head": "classifier rows",
    "tail": "channels of the last block",
    "deep": "channels of the later layers",
    "full": "all weights",
}
"""What each rung changes, for people."""
_SPACE = re.compile(rf"[^\S{NBSP}]+")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~])")


def signed(text: str) -> str:
    """The same text with a typographic minus sign."""
    return text.replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 as percent: 0.822 is "82.2 %"."""
    return UNKNOWN if share is None else signed(f"{100 * share:.{digits}f}{NBSP}%")


def points(difference: float | None) -> str:
    """The difference of two shares in percentage points: -0.11 is "−11.0 points"."""
    if difference is None:
        return UNKNOWN
    value = round(100 * difference, 1) + 0.0
    return "no change" if value == 0 else signed(f"{value:+.1f}{NBSP}points")


def scaled(value: float | None, unit: str) -> str:
    """Three significant digits with an SI prefix: 3.38e11 "FLOP" is "338 GFLOP"."""
    if value is None:
        return UNKNOWN
    if value == 0 or not math.isfinite(value):
        return f"{value:g}{NBSP}{unit}"
    power = min(max(math.floor(math.log10(abs(value)) / 3), -2), len(_SI) - 1)
    if float(f"{abs(value) / 1000.0**power:.3g}") >= 1000 and power + 1 < len(_SI):
        power += 1
    prefix = _SI[power] if power >= 0 else {-1: "m", -2: "\u00b5"}[power]
    digits = float(f"{value / 1000.0**power:.3g}")
    return signed(f"{digits:,.10g}{NBSP}{prefix}{unit}")


def energy(joules: float | None, origin: str | None) -> str:
    """Joules with their origin: "0.4 J estimated"."""
    return UNKNOWN if joules is None else f"{scaled(joules, 'J')} {origin or 'of unknown origin'}"


def joules_by(meter: str, origin: str) -> str:
    """The meter and what it counts: "Joules measured by rapl:package-0: the whole ..."."""
    counted = _COUNTED.get(meter.partition(":")[0])
    return f"Joules {origin} by {meter}{f': {counted}' if counted else ''}."


def duration(seconds: float | None) -> str:
    """Seconds as "12.3 s", "14 min 19 s" or "2 h 05 min"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return scaled(seconds, "s")
    if seconds < 59.95:
        return f"{seconds:.1f}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min{NBSP}{rest:02d}{NBSP}s"
    return f"{minutes // 60}{NBSP}h{NBSP}{minutes % 60:02d}{NBSP}min"


def saved(share: float | None, fewer: str = "less", more: str = "more") -> str:
    """What was saved, as a comparison that also reads well when nothing was.

    Args:
        share: 1 - ours / theirs; negative where ours is the greater.
        fewer: the word for a saving, "fewer" for things that are counted.
        more: the word for its opposite.

    Returns:
        "99.0 % less", "12.0 % more", "the same", "4.5 times as much" from twice as much on.
    """
    if share is None:
        return UNKNOWN
    if share <= -1:
        return f"{1 - share:.1f} times as {'many' if fewer == 'fewer' else 'much'}"
    if abs(share) < 0.0005:
        return "the same"
    if 0.9995 <= share < 1:
        return f"over 99.9{NBSP}% {fewer}"
    return f"{100 * abs(share):.1f}{NBSP}% {fewer if share > 0 else more}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 update", "3 updates"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str, width: int | None = None) -> str:
    """`text` on one line without control characters, cut to `width` characters.

    Class names and segment names come from other people's folders and archives.
    """
    line = _SPACE.sub(" ", text).strip(" ")
    clean = "".join(c if c.isprintable() or c == NBSP else "\ufffd" for c in line)
    if width is not None and len(clean) > width:
        return clean[: width - 1] + "\u2026"
    return clean


def names(classes: Sequence[str]) -> str:
    """Class names in a row, each `printable`."""
    return ", ".join(printable(name) for name in classes)


def changed(rung: str, domain: int, classes: Sequence[str], is_new_domain: bool) -> str:
    """What an update changed: "classifier rows of cat, truck".

    Args:
        rung: of the ladder.
        domain: in which it learned; 0 is the bundle's own.
        classes: that it was to help.
        is_new_domain: whether the domain had no normalization of its own before.
    """
    if rung == "norm":
        known = f"domain {domain}" if domain else "the bundle's own domain"
        where = f"a new domain, number {domain}" if is_new_domain else known
        return f"normalization re-estimated for {where}"
    what = _CHANGED.get(rung, printable(f"rung {rung}"))
    whose = f" {'of' if rung == 'head' else 'for'} {names(classes)}" if classes else ""
    return f"{what}{whose}{f', in domain {domain}' if domain else ''}"


def markdown(text: str) -> str:
    """`text` so that a Markdown table cell or paragraph shows exactly that text, HTML included."""
    return _MARKDOWN.sub(r"\\\1", printable(text).replace(NBSP, " ").replace("&", "&amp;"))
