"""Write the frozen files of the present schemas: `python -m tests.frozen.write FOLDER`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from sel_edge.bundle.bundle import Bundle, pack_anchors, write_bundle
from sel_edge.bundle.manifest import (
    ANCHORS_FILE,
    GRAPH_FILE,
    INT8_FILE,
    SCHEMA,
    Manifest,
    ModelInfo,
)
from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.compile.ladder import LadderOptions
from sel_edge.compile.package import package
from sel_edge.core.ledger import LedgerWriter, Session, read_ledger
from sel_edge.core.ledger_file import LEDGER
from sel_edge.core.standin import StandIn
from sel_edge.data.stream import FrameBatch
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.model import BasicBlock
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.preprocess import Preprocessor
from tests.compile.networks import InvertedResidual, Network, exported, settled
from tests.frozen.learning import CHANNELS, losses, renormalized
from tests.runtime import conftest
from tests.runtime.conftest import CLASSES, NEW_CLASS, Patterns, build_bundle

TICK = 20
BATCH, FRAMES = 8, 16
SHARE = 4 / 48
DEEP_FROM = "body.1.layers.0.weight"
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
    """A bundle, a device that ran it, what both must say, and a bundle of a deeper network."""
    freeze_device(folder, freeze_bundle(folder))
    freeze_trainable(folder)


def freeze_bundle(folder: Path) -> Bundle:
    """A bundle with every graph that the compiler makes of the network."""
    with TemporaryDirectory() as temporary:
        plain = build_bundle(Path(temporary) / "plain", conftest.Network())
        model = with_normalization(onnx.load(plain.member(GRAPH_FILE)))
        anchors = plain.member(ANCHORS_FILE).read_bytes()
        images = Preprocessor(plain.manifest.preprocessing)(plain.anchors().frames)
    compiled = package(model, LadderOptions(batch=BATCH, frames=FRAMES, share=SHARE), images)
    manifest = replace(plain.manifest, rungs=compiled.rungs, int8=INT8_FILE)
    members = {**compiled.members, ANCHORS_FILE: anchors}
    bundle = write_bundle(folder / f"bundle-v{SCHEMA}", manifest, members)
    logits = Engine(bundle).infer(bundle.anchors().frames)[1]
    expected = {
        "bundle_hash": bundle.manifest.bundle_hash,
        "first_logits": logits[0].tolist(),
        "standin_mean": float(bundle.manifest.standin.estimate(logits).mean()),
        "rungs": list(bundle.manifest.rungs),
        "losses": {rung: losses(bundle, rung) for rung in CHANNELS},
        "renormalized": renormalized(bundle),
    }
    save(folder / f"bundle-v{SCHEMA}.json", expected)
    return bundle


def freeze_trainable(folder: Path) -> None:
    """A bundle with every rung, of a network with a depthwise convolution and shortcuts."""
    classes, shape = ("a", "b", "c", "d", "e"), (3, 8, 8)
    network = settled(blocks, shape)
    options = LadderOptions(batch=BATCH, frames=FRAMES, share=0.25, deep_from=DEEP_FROM)
    view = ImagePreprocessing(8, 8, 3, (0.5,) * 3, (0.25,) * 3)
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    pixels = Preprocessor(view)(images)
    compiled = package(exported(network, shape), options, pixels)
    with torch.no_grad():
        features = network.features(torch.tensor(pixels)).numpy()
    labels = np.arange(len(images)) % len(classes)
    manifest = Manifest(
        model=ModelInfo("blocks", compiled.width, compiled.parameters, compiled.forward_macs),
        classes=classes,
        preprocessing=view,
        temperature=1.5,
        head_weight=compiled.head_weight,
        head_bias=compiled.head_bias,
        features=compiled.features,
        standin=StandIn((0.0, 1.0), (0.0, 1.0)),
        anchors_held_out=True,
        accuracy={},
        provenance={"made_by": "tests"},
        rungs=compiled.rungs,
        int8=INT8_FILE,
    )
    anchors = pack_anchors(images, labels, features)
    members = {**compiled.members, ANCHORS_FILE: anchors}
    write_bundle(folder / f"bundle-v{SCHEMA}-trainable", manifest, members)


def blocks() -> Network:
    """A stem, an inverted residual block and a residual block with a projection."""
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return Network(nn.Sequential(stem, InvertedResidual(8, 8, 1), BasicBlock(8, 12, 2)), 12)


def with_normalization(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with a BatchNormalization behind its convolution that changes nothing."""
    graph, epsilon = model.graph, 1e-5
    mean = numpy_helper.to_array(next(i for i in graph.initializer if i.name == "conv.bias"))
    variance = np.full_like(mean, 0.25)
    tensors = {"bn.weight": np.sqrt(variance + np.float32(epsilon)), "bn.bias": mean}
    tensors |= {"bn.mean": mean, "bn.variance": variance}
    graph.initializer.extend(numpy_helper.from_array(t, name) for name, t in tensors.items())
    inputs = [graph.node[0].output[0], *tensors]
    node = helper.make_node("BatchNormalization", inputs, ["normal"], epsilon=epsilon)
    graph.node[1].input[0] = "normal"
    graph.node.insert(1, node)
    return model


def freeze_device(folder: Path, bundle: Bundle) -> None:
    """A ledger and the heads that it names, after at least one kept update."""
    path = folder / f"device-v{LEDGER.schema}" / "ledger.sqlite"
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
    expected = {
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
    save(folder / f"device-v{LEDGER.schema}.json", expected)


def save(path: Path, expected: dict[str, Any]) -> None:
    """What the tests are to find."""
    path.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
