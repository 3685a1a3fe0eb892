"""Write the frozen files of the present schemas: `python -m tests.frozen.write FOLDER`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
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
from sel_edge.bundle.delta import VERSION
from sel_edge.bundle.keys import public_path
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
from sel_edge.core.budget import Budget
from sel_edge.core.ledger import LEDGER_FILE, Session
from sel_edge.core.ledger_file import LEDGER
from sel_edge.core.standin import StandIn
from sel_edge.data.stream import FrameBatch
from sel_edge.link import frames
from sel_edge.pretrain.model import BasicBlock
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.guard import Tolerance
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.slots import KEY_FILE, SLOTS_DIRECTORY, open_slots
from tests.compile.networks import InvertedResidual, Network, exported, settled
from tests.frozen.learning import CHANNELS, losses, magnitudes, renormalized, told
from tests.frozen.linked import linked
from tests.runtime import conftest
from tests.runtime.conftest import CLASSES, NEW_CLASS, build_bundle
from tests.runtime.faded import fade
from tests.runtime.living import Lived, stream
from tests.runtime.updates import updated

UPDATES = 24
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
    """A bundle, a device that ran it, a bundle of a deeper network, slots of it, the link."""
    freeze_device(folder, freeze_bundle(folder))
    freeze_slots(folder, freeze_trainable(folder))
    save(folder / f"link-v{frames.VERSION}.json", linked())


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


def freeze_trainable(folder: Path) -> Bundle:
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
    return write_bundle(folder / f"bundle-v{SCHEMA}-trainable", manifest, members)


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
    """A ledger with every kind of row and of decision, and what it holds."""
    path = folder / f"device-v{LEDGER.schema}" / LEDGER_FILE
    path.parent.mkdir()
    with TemporaryDirectory() as temporary:
        state, everything = Path(temporary), (*CLASSES, NEW_CLASS)
        device = Lived(state, bundle)
        live_once(device, [*stream(80, 1, 0.5), *fade(stream(60, 2, 0.5))])
        for joules, seed in ((1e-6, 3), (50.0, 4)):
            poor = Lived(state, bundle, budget=Budget(energy_j_per_day=joules))
            live_once(poor, stream(100, seed, 1.0, everything))
        strict = RuntimeConfig(tolerance=Tolerance(embarrassment=0.0, accuracy=0.0))
        live_once(Lived(state, bundle, strict), stream(100, 5, 1.0, everything))
        live_once(device, stream(200, 6, 1.0, (NEW_CLASS,)))
        with open_slots(device.path, bundle) as slots:
            slots.rollback("bundle")
        live_once(device, stream(20, 7, 0.5))
        shutil.copy(device.path / LEDGER_FILE, path)
        save(folder / f"device-v{LEDGER.schema}.json", told(device.ledger))


def live_once(device: Lived, batches: Iterable[FrameBatch]) -> None:
    """A session that ends with an evaluation."""
    with device.runtime() as runtime:
        runtime._ledger.record_session(replace(SESSION, frame=runtime._ledger.frames()))
        for batch in batches:
            runtime.process(batch)
        runtime.evaluate("after", "known classes", stream(40, 99, 0.0))


def freeze_slots(folder: Path, bundle: Bundle) -> None:
    """Slots after random updates with the public key that checks them, and what they hold."""
    target, rng = folder / f"slots-v{VERSION}", np.random.default_rng(VERSION)
    target.mkdir(parents=True)
    with TemporaryDirectory() as temporary:
        state = Path(temporary)
        with open_slots(state, bundle) as slots:
            networks = []
            for number in range(UPDATES):
                network = updated(slots.current(), rng)
                while network.hash == slots.current().hash:
                    network = updated(network, rng)
                networks.append(network)
                slots.commit(network, frame=100 * number)
                slots.confirm()
        hidden = shutil.ignore_patterns(".*")
        shutil.copytree(state / SLOTS_DIRECTORY, target / SLOTS_DIRECTORY, ignore=hidden)
        shutil.copy(public_path(state / KEY_FILE), target)
    expected = {
        "networks": [network.hash for network in networks],
        "classes": list(networks[-1].classes),
        "domains": list(networks[-1].domains),
        "magnitudes": magnitudes(networks[-1]),
    }
    save(folder / f"slots-v{VERSION}.json", expected)


def save(path: Path, expected: dict[str, Any]) -> None:
    """What the tests are to find."""
    path.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
