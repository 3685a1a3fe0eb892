"""Updates as rows of text: what was changed, on what proof, and what it cost against what was
predicted."""

from __future__ import annotations

from collections.abc import Sequence

from sel_edge.core.ledger import Update
from sel_edge.report import wording

UPDATE_HEADER = (
    *("Frame", "Verdict", "What was changed", "Learned from", "Judged on", "Anchors"),
    *("Executed", "Energy", "Time"),
)
UPDATE_NOTE = (
    "Judged on and Anchors: embarrassment in nats, before → after; exact where it says labels, "
    "estimated where it says stand-in. What was predicted was so before the update, and is no "
    "measurement; executed FLOPs are counted."
)


def update_rows(updates: Sequence[Update]) -> list[tuple[str, ...]]:
    """A row of texts for every update, in order."""
    rows, normalized = [], {0}
    for update in updates:
        rows.append(_cells(update, is_new_domain=update.domain not in normalized))
        if update.rung == "norm" and update.kept:
            normalized.add(update.domain)
    return rows


def _cells(update: Update, is_new_domain: bool) -> tuple[str, ...]:
    energy = wording.energy(update.energy.joules, update.energy.origin)
    return (
        f"{update.frame:,}",
        _verdict(update),
        _what(update, is_new_domain),
        _learned_from(update),
        _judged_on(update),
        _change(update.anchors_before, update.anchors_after),
        _beside(
            wording.scaled(update.executed_flops, "FLOP"),
            wording.scaled(update.predicted_flops, "FLOP"),
        ),
        _beside(energy, wording.scaled(update.predicted_energy_j, "J")),
        _beside(wording.duration(update.seconds), wording.duration(update.predicted_seconds)),
    )


def _what(update: Update, is_new_domain: bool) -> str:
    """What was changed, and the size of it if it was kept."""
    said = wording.changed(update.rung, update.domain, update.classes, is_new_domain)
    return f"{said}; {wording.scaled(update.delta_bytes, 'B')}" if update.delta_bytes else said


def _verdict(update: Update) -> str:
    if update.kept:
        return "✓ kept"
    return "■ stopped" if update.stopped else "✗ rejected"


def _learned_from(update: Update) -> str:
    counts = ((update.labels, "label"), (update.frames, "unlabelled frame"), (update.steps, "step"))
    said = (wording.counted(number, noun) for number, noun in counts if number)
    return ", ".join(said) or wording.UNKNOWN


def _judged_on(update: Update) -> str:
    """On how many labels, or frames by the stand-in, with the gain and what it was to be."""
    if update.stopped:
        return "not judged"
    noun, how = ("label", "") if update.exact else ("frame", ", stand-in")
    change = _change(update.held_out_before, update.held_out_after)
    said = f"{wording.counted(update.held_out, noun)}{how}: {change}"
    if update.predicted_gain is None:
        return said
    return f"{said}, predicted gain {wording.signed(f'{update.predicted_gain:.2f}')}"


def _beside(real: str, predicted: str) -> str:
    return f"{real}, predicted {predicted}"


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return wording.UNKNOWN
    return f"{before:.2f}{wording.NBSP}\u2192{wording.NBSP}{after:.2f}"
