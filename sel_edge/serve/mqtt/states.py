"""What a device says of itself: one JSON object for each topic, the same for the same state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sel_edge.core.files import canonical_json
from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.report.wording import printable
from sel_edge.serve.mqtt.topics import Topics, identifier
from sel_edge.serve.snapshot import Event, Snapshot

MOST_CLASSES = 100
"""Whoever watches a house does not look at more; the page shows them all."""
TRIGGERS = ("fire", "wants_labels")
_MAX_REASON = 500


def told_classes(snapshot: Snapshot) -> tuple[str, ...]:
    """The classes that are told, at most 100; those learned last are among them."""
    return snapshot.classes[-MOST_CLASSES:]


def states(topics: Topics, snapshot: Snapshot) -> dict[str, bytes]:
    """Topic -> what to say there now.

    Numbers are rounded to what is worth a message.
    """
    said: dict[str, Any] = {
        topics.status: {"phase": snapshot.phase, "waiting": snapshot.queue.waiting},
        topics.embarrassment: {
            identifier(name): _embarrassment(name, snapshot) for name in told_classes(snapshot)
        },
        topics.wallet: {
            identifier(balance.resource): {
                "left": _short(balance.left),
                "size": _short(balance.size),
            }
            for balance in snapshot.balances
        },
        topics.temperature: {
            "celsius": None if snapshot.celsius is None else round(snapshot.celsius, 1),
            "throttled": snapshot.throttled,
        },
    }
    last = next((event for event in reversed(snapshot.events) if event.kind in TRIGGERS), None)
    if last is not None:
        said[topics.trigger] = _trigger(last)
    return {topic: canonical_json(value) for topic, value in said.items()}


def _embarrassment(name: str, snapshot: Snapshot) -> Mapping[str, Any]:
    found = snapshot.embarrassment.get(name, ClassEmbarrassment(None, None, 0))
    by_labels = found.exact is not None
    nats = found.exact if by_labels else found.standin
    normal = snapshot.normal.get(name)
    return {
        "class": printable(name, 64),
        "nats": None if nats is None else round(nats, 2),
        "by": "labels" if by_labels else "stand-in",
        "labels": found.labels,
        "normal": None if normal is None else round(normal, 2),
    }


def _trigger(event: Event) -> Mapping[str, Any]:
    when = None if event.utc_s is None else datetime.fromtimestamp(event.utc_s, UTC)
    return {
        "kind": event.kind,
        "reason": printable(event.reason, _MAX_REASON),
        "classes": [printable(name, 64) for name in event.classes[:MOST_CLASSES]],
        "frame": event.frame,
        "utc": None if when is None else when.isoformat(timespec="seconds"),
    }


def _short(amount: float) -> float:
    """Four digits of it."""
    return float(f"{amount:.4g}")
