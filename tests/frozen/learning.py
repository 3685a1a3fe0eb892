"""What a bundle learns in a few steps on its own anchors, what a network is made of, and what a
ledger tells."""

from __future__ import annotations

from typing import Any

import numpy as np

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.core.ledger import Ledger
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.network import Network
from sel_edge.runtime.renormalize import Renormalizer
from sel_edge.runtime.training import TrainingStep

STEPS = 3
LEARNING_RATE = 0.05
CHANNELS = {
    "head": {"fc.weight": np.arange(4)},
    "tail": {"conv.weight": np.array([3, 17, 30, 47])},
    "full": {},
}
"""Rung -> weight of a layer -> which of its rows are trained, where that is to be chosen."""


def losses(bundle: Bundle, rung: str) -> list[float]:
    """Mean loss over one batch before each of `STEPS` steps, nats."""
    step = TrainingStep(bundle, rung, bundle.parameters(), CHANNELS[rung], threads=1)
    anchors, batch = bundle.anchors(), step.rung.batch
    prepared = step.prepare(Engine(bundle).latents(anchors.frames[:batch], rung))
    return [
        float(step.step(prepared, anchors.labels[:batch], learning_rate=LEARNING_RATE).loss.mean())
        for _ in range(STEPS)
    ]


def renormalized(bundle: Bundle) -> list[float]:
    """The first biases of the normalized layer, estimated anew from some anchors."""
    estimator = Renormalizer(bundle, bundle.parameters(), threads=1)
    new = estimator.estimate(bundle.anchors().frames[: estimator.frames], blend=0.5)
    return new["conv.bias"][:4].tolist()


def magnitudes(network: Network) -> list[float]:
    """Mean size of all weights and biases, in the bundle's own domain and in each other."""
    domains = (OWN, *network.domains)
    wholes = [list(network.whole(number).values()) for number in domains]
    return [float(np.abs(np.concatenate([v.ravel() for v in w])).mean()) for w in wholes]


def told(ledger: Ledger) -> dict[str, Any]:
    """What a ledger tells, as JSON holds it."""
    last, sessions = ledger.ticks[-1], ledger.sessions
    return {
        "frames": sum(tick.n for tick in ledger.ticks),
        "joules": sum(tick.energy.joules for tick in ledger.ticks),
        "decisions": [[d.frame, d.kind, list(d.classes), d.network] for d in ledger.decisions],
        "updates": [
            [u.frame, u.rung, u.domain, u.kept, u.steps, u.network_before, u.network_after]
            for u in ledger.updates
        ],
        "costs": [
            [u.predicted_flops, u.executed_flops, u.predicted_energy_j, u.energy.joules]
            for u in ledger.updates
        ],
        "proofs": [
            [u.exact, u.held_out_before, u.held_out_after, u.anchors_before, u.anchors_after]
            for u in ledger.updates
        ],
        "sessions": [[s.frame, s.source, s.note, s.energy_origin] for s in sessions],
        "evaluations": [[e.name, e.subset, e.n, e.correct] for e in ledger.evaluations],
        "last_tick": [
            last.segment,
            {name: list(pair) for name, pair in last.scores.items()},
            dict(last.domains),
            [last.novel, last.executed_flops, last.watching_flops],
            {n: [w.exact, w.standin, w.labels] for n, w in last.embarrassment.items()},
        ],
        "levels": [
            [row.frame, row.network, row.domain, list(row.together), sorted(row.classes)]
            for row in ledger.levels
        ],
        "balances": [
            [
                row.frame,
                row.utc_s,
                row.throttled,
                {k: list(pair) for k, pair in row.balances.items()},
            ]
            for row in ledger.balances
        ],
    }
