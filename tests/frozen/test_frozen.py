"""Bytes written by earlier versions are still read, and still mean the same.

Files of a released schema are never regenerated: a new schema gets new files beside them. They
were written by `python -m tests.frozen.write FOLDER` at the commit that introduced their schema.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.manifest import GRAPH_FILE
from sel_edge.core.ledger import LedgerWriter, read_ledger
from sel_edge.energy.meter import open_meter
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.head import HeadStore
from sel_edge.runtime.loop import Runtime
from tests.frozen.learning import losses, renormalized

FROZEN = Path(__file__).parent
EXPECTED = json.loads((FROZEN / "v1.json").read_text())
BUNDLES = {1: EXPECTED, 2: json.loads((FROZEN / "bundle-v2.json").read_text())}


@pytest.fixture
def device(tmp_path):
    """A copy, since SQLite writes beside a database it reads."""
    shutil.copytree(FROZEN / "device-v1", tmp_path / "device")
    return tmp_path / "device"


@pytest.mark.parametrize("schema", BUNDLES)
def test_a_bundle_of_every_schema(schema):
    bundle, expected = open_bundle(FROZEN / f"bundle-v{schema}"), BUNDLES[schema]
    assert bundle.manifest.schema == schema
    assert bundle.manifest.bundle_hash == expected["bundle_hash"]
    anchors = bundle.anchors()
    features, logits = Engine(bundle).infer(anchors.frames)
    np.testing.assert_allclose(features, anchors.features, atol=1e-4)
    weight, bias = bundle.head()
    np.testing.assert_allclose(logits, features @ weight.T + bias, atol=1e-4)
    np.testing.assert_allclose(logits[0], expected["first_logits"], atol=1e-4)
    assert bundle.manifest.standin.estimate(logits).mean() == pytest.approx(
        expected["standin_mean"], rel=1e-4
    )


def test_a_bundle_of_schema_1_has_nothing_to_learn_with():
    manifest = open_bundle(FROZEN / "bundle-v1").manifest
    assert (manifest.rungs, manifest.int8) == ({}, None)


@pytest.mark.parametrize("rung", BUNDLES[2]["losses"])
def test_a_rung_of_schema_2_still_learns_what_it_did(rung):
    bundle, expected = open_bundle(FROZEN / "bundle-v2"), BUNDLES[2]
    assert list(bundle.manifest.rungs) == expected["rungs"]
    np.testing.assert_allclose(losses(bundle, rung), expected["losses"][rung], rtol=1e-3)


def test_the_normalization_of_schema_2_is_still_estimated_alike():
    found = renormalized(open_bundle(FROZEN / "bundle-v2"))
    np.testing.assert_allclose(found, BUNDLES[2]["renormalized"], rtol=1e-3)


def test_the_int8_graph_of_schema_2_still_answers_like_the_other(tmp_path):
    bundle = open_bundle(FROZEN / "bundle-v2")
    shutil.copytree(bundle.path, tmp_path / "bundle")
    shutil.copy(bundle.member(bundle.manifest.int8), tmp_path / "bundle" / GRAPH_FILE)
    images = bundle.anchors().frames
    answers = Engine(replace(bundle, path=tmp_path / "bundle")).infer(images)[1].argmax(axis=1)
    assert (answers == Engine(bundle).infer(images)[1].argmax(axis=1)).mean() > 0.95


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
