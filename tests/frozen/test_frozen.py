"""Bytes written by earlier versions are still read, and still mean the same.

The files in this folder are never regenerated: a new schema gets new files beside them. They were
written by `python -m tests.frozen.write FOLDER` at the commit that introduced their schema.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import open_bundle
from sel_edge.core.ledger import LedgerWriter, read_ledger
from sel_edge.energy.meter import open_meter
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.head import HeadStore
from sel_edge.runtime.loop import Runtime

FROZEN = Path(__file__).parent
EXPECTED = json.loads((FROZEN / "v1.json").read_text())


@pytest.fixture
def device(tmp_path):
    """A copy, since SQLite writes beside a database it reads."""
    shutil.copytree(FROZEN / "device-v1", tmp_path / "device")
    return tmp_path / "device"


def test_a_bundle_of_schema_1():
    bundle = open_bundle(FROZEN / "bundle-v1")
    assert bundle.manifest.bundle_hash == EXPECTED["bundle_hash"]
    anchors = bundle.anchors()
    features, logits = Engine(bundle).infer(anchors.images)
    np.testing.assert_allclose(features, anchors.features, atol=1e-4)
    weight, bias = bundle.head()
    np.testing.assert_allclose(logits, features @ weight.T + bias, atol=1e-4)
    np.testing.assert_allclose(logits[0], EXPECTED["first_logits"], atol=1e-4)
    assert bundle.manifest.standin.estimate(logits).mean() == pytest.approx(
        EXPECTED["standin_mean"], rel=1e-4
    )


def test_a_ledger_and_a_head_of_schema_1(device):
    ledger = read_ledger(device / "ledger.sqlite")
    kinds = [decision.kind for decision in ledger.decisions]
    assert sum(tick.n for tick in ledger.ticks) == EXPECTED["frames"]
    assert kinds == EXPECTED["decisions"]
    assert [update.head_after for update in ledger.updates] == EXPECTED["heads"]
    assert [[s.source, s.note] for s in ledger.sessions] == EXPECTED["sessions"]
    found = [[e.name, e.subset, e.n, e.correct] for e in ledger.evaluations]
    assert found == EXPECTED["evaluations"]
    segment, scores = EXPECTED["last_tick"]
    assert ledger.ticks[-1].segment == segment
    assert {name: list(pair) for name, pair in ledger.ticks[-1].scores.items()} == scores
    assert [level.head for level in ledger.levels] == EXPECTED["levels"]
    head = HeadStore(device / "heads").load(EXPECTED["heads"][-1])
    assert list(head.classes) == EXPECTED["classes"]
    assert float(head.weight.sum()) == pytest.approx(EXPECTED["weight_sum"], rel=1e-6)


def test_a_runtime_goes_on_from_a_ledger_of_schema_1(device):
    with LedgerWriter(device / "ledger.sqlite") as ledger:
        runtime = Runtime(open_bundle(FROZEN / "bundle-v1"), ledger, open_meter())
        assert runtime.head.hash == EXPECTED["heads"][-1]
