"""Write the frozen files of the present schema: `python -m tests.frozen.write FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sel_edge.bundle.bundle import open_bundle
from sel_edge.core.ledger import LedgerWriter, Session, read_ledger
from sel_edge.data.stream import FrameBatch
from sel_edge.energy.meter import open_meter
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.loop import Runtime
from tests.runtime.conftest import CLASSES, NEW_CLASS, Network, Patterns, build_bundle

TICK = 20
SESSION = Session(
    frame=0,
    started_utc="2026-01-01T00:00:00+00:00",
    source="gratings",
    source_sha256="0" * 64,
    note="drawn",
    meter="profile:generic-x86",
    energy_origin="estimated",
    versions={"sel-edge": "0.1.0"},
)


def main(folder: Path) -> None:
    """A bundle, a device that kept at least one update, and what both must say."""
    build_bundle(folder / "bundle-v1", Network())
    bundle = open_bundle(folder / "bundle-v1")
    path = folder / "device-v1" / "ledger.sqlite"
    with LedgerWriter(path) as ledger:
        runtime = Runtime(bundle, ledger, open_meter())
        ledger.record_session(SESSION)
        for number in range(16):
            names = CLASSES if number < 4 else (*CLASSES, NEW_CLASS)
            images, drawn = Patterns().draw(TICK, seed=number, names=names)
            segment = "1: known" if number < 4 else "2: new"
            labels = tuple(drawn)
            runtime.process(FrameBatch(number * TICK, images, labels, labels, segment))
        images, drawn = Patterns().draw(TICK, seed=99)
        last = FrameBatch(0, images, tuple(drawn), tuple(drawn), "probe")
        runtime.evaluate("after", "known classes", [last])
        head = runtime.head
    written = read_ledger(path)
    logits = Engine(bundle).infer(bundle.anchors().images)[1]
    expected = {
        "bundle_hash": bundle.manifest.bundle_hash,
        "first_logits": logits[0].tolist(),
        "standin_mean": float(bundle.manifest.standin.estimate(logits).mean()),
        "frames": sum(tick.n for tick in written.ticks),
        "decisions": [decision.kind for decision in written.decisions],
        "heads": [update.head_after for update in written.updates],
        "classes": list(head.classes),
        "weight_sum": float(head.weight.sum()),
        "sessions": [[session.source, session.note] for session in written.sessions],
        "evaluations": [[e.name, e.subset, e.n, e.correct] for e in written.evaluations],
        "last_tick": [written.ticks[-1].segment, written.ticks[-1].scores],
        "levels": [level.head for level in written.levels],
    }
    (folder / "v1.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
