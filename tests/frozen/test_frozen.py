"""Bytes written by earlier versions are still read, and still mean the same.

Files of a released schema are never regenerated: a new schema gets new files beside them. They
were written by `python -m tests.frozen.write FOLDER` at the commit that introduced their schema.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.keys import load_public_key, public_path
from sel_edge.bundle.manifest import GRAPH_FILE
from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.ledger import DecisionKind, LedgerWriter, read_ledger
from sel_edge.link.frames import FrameDecoder
from sel_edge.runtime.deltas import apply
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.network import bundle_network
from sel_edge.runtime.slot_book import SlotBook
from sel_edge.runtime.slots import KEY_FILE, SLOTS_DIRECTORY
from tests.core.ledgers import TICK
from tests.frozen.learning import losses, magnitudes, renormalized, told
from tests.frozen.linked import MESSAGES, PACKETS, linked

FROZEN = Path(__file__).parent
EXPECTED = json.loads((FROZEN / "v1.json").read_text())
BUNDLES = {1: EXPECTED, 2: json.loads((FROZEN / "bundle-v2.json").read_text())}
DEVICE = json.loads((FROZEN / "device-v2.json").read_text())
LINK = json.loads((FROZEN / "link-v1.json").read_text())
SLOTS = {v: json.loads((FROZEN / f"slots-v{v}.json").read_text()) for v in (1, 2)}


@pytest.fixture
def device(tmp_path):
    """A copy, since SQLite writes beside a database it reads."""
    shutil.copytree(FROZEN / "device-v2", tmp_path / "device")
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


@pytest.mark.parametrize("open_it", [read_ledger, LedgerWriter])
def test_a_ledger_of_schema_1_is_refused_and_left_alone(tmp_path, open_it):
    """It knew one rung, no domains and no budget."""
    path = tmp_path / "ledger.sqlite"
    shutil.copy(FROZEN / "device-v1" / "ledger.sqlite", path)
    before = path.read_bytes()
    with pytest.raises(RunDirectoryError, match=r"schema 1\.") as refusal:
        open_it(path)
    assert "reads schema 2" in str(refusal.value) and "another directory" in str(refusal.value)
    assert path.read_bytes() == before


def test_a_ledger_of_schema_2(device):
    assert plain(told(read_ledger(device / "ledger.sqlite"))) == DEVICE


def test_its_kinds_of_decisions_are_all_there_are():
    kinds = {kind for _, kind, _, _ in DEVICE["decisions"]}
    assert kinds == set(get_args(DecisionKind))


def test_a_ledger_of_schema_2_is_gone_on_with(device):
    updates, rollback = DEVICE["updates"], DEVICE["decisions"][-1]
    with LedgerWriter(device / "ledger.sqlite") as ledger:
        assert ledger.frames() == DEVICE["frames"]
        assert [update.network_after for update in ledger.updates()] == [u[-1] for u in updates]
        assert rollback[1] == "rollback" and ledger.current_network() == rollback[-1]
        frame, network, domain, together, classes = DEVICE["levels"][-1]
        levels = ledger.current_levels(network, domain)
        assert (levels.frame, list(levels.together)) == (frame, together)
        assert sorted(levels.classes) == classes
        ledger.record(replace(TICK, start=ledger.frames()))
    assert read_ledger(device / "ledger.sqlite").ticks[-1].start == DEVICE["frames"]


def plain(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("version", SLOTS)
def test_slots_and_deltas_of_every_version(version, tmp_path):
    folder, expected = tmp_path / "slots", SLOTS[version]
    shutil.copytree(FROZEN / f"slots-v{version}", folder)
    bundle = open_bundle(FROZEN / "bundle-v2-trainable")
    key = load_public_key(public_path(folder / KEY_FILE))
    base = bundle.manifest.bundle_hash
    with SlotBook(folder / SLOTS_DIRECTORY, {key}, base) as book:
        choice, history = book.start(bundle_network(bundle), apply), book.history()
    network = choice.state
    assert choice.notes == () and len(choice.chain) == len(expected["networks"])
    assert [entry.network for entry in history.entries] == expected["networks"]
    assert network.hash == expected["networks"][-1]
    assert list(network.classes) == expected["classes"]
    assert list(network.domains) == expected["domains"]
    np.testing.assert_allclose(magnitudes(network), expected["magnitudes"], rtol=1e-6)
    files = (folder / SLOTS_DIRECTORY / "deltas").iterdir()
    sizes = {path.stem: path.stat().st_size for path in files}
    assert {entry.delta: entry.bytes for entry in history.entries} == sizes


def test_messages_and_frames_of_link_version_1_are_still_written_like_that():
    assert linked() == LINK


def test_messages_and_frames_of_link_version_1_are_still_read():
    for content, message in zip(LINK["messages"].values(), MESSAGES, strict=True):
        assert type(message).decode(bytes.fromhex(content)) == message
    for content, packet in zip(LINK["packets"], PACKETS, strict=True):
        assert FrameDecoder(packet.kind).feed(bytes.fromhex(content)) == [packet]
