"""What the runtime makes of compiled training steps, against torch's own optimizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sel_edge.bundle.bundle import Bundle, pack_anchors, write_bundle
from sel_edge.bundle.manifest import ANCHORS_FILE, Manifest, ModelInfo
from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward
from sel_edge.compile.ladder import LadderOptions
from sel_edge.compile.load import load_graph
from sel_edge.compile.optimizers import Adam, Optimizer, Sgd
from sel_edge.compile.package import package
from sel_edge.core.standin import StandIn
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.training import TrainingStep
from tests.compile import reference
from tests.compile.networks import NETWORKS, exported, settled

BATCH, SAMPLES, CLASSES, STEPS, RATE = 8, 6, 5, 8, 0.01
TEMPERATURE = 2.0
FIRST = "body.0.near.0.weight"
VIEW = ImagePreprocessing(16, 16, 3, (0.5,) * 3, (0.25,) * 3)
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Sgd(momentum=0.8, weight_decay=0.01),
    "adam": Adam(weight_decay=0.01),
}


def made(folder: Path, optimizer: Optimizer) -> tuple[Bundle, Forward]:
    """A bundle, and the network that it was made of."""
    make, shape = NETWORKS["branches"]
    model = exported(settled(make, shape), shape)
    options = LadderOptions(batch=BATCH, share=0.25, deep_from=FIRST, optimizer=optimizer)
    compiled = package(model, options, None)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * CLASSES, 16, 16, 3), dtype=np.uint8)
    features = np.zeros((len(images), compiled.features), np.float32)
    manifest = Manifest(
        model=ModelInfo("branches", compiled.width, compiled.parameters, compiled.forward_macs),
        classes=tuple("abcde"),
        preprocessing=VIEW,
        temperature=1.5,
        head_weight=compiled.head_weight,
        head_bias=compiled.head_bias,
        features=compiled.features,
        standin=StandIn((0.0,), (0.0,)),
        anchors_held_out=True,
        accuracy={},
        provenance={},
        rungs=compiled.rungs,
        moments=compiled.moments,
    )
    moments = np.zeros((len(images), 2, compiled.width), np.float32)
    anchors = pack_anchors(images, np.arange(len(images)) % CLASSES, features, moments)
    members = {**compiled.members, ANCHORS_FILE: anchors}
    bundle = write_bundle(folder / "bundle", manifest, members)
    return bundle, fold(load_graph(model, BATCH))


def torch_optimizer(optimizer: Optimizer, given: dict[str, torch.Tensor]) -> torch.optim.Optimizer:
    if isinstance(optimizer, Sgd):
        return torch.optim.SGD(
            given.values(), RATE, momentum=optimizer.momentum, weight_decay=optimizer.weight_decay
        )
    return torch.optim.Adam(given.values(), RATE, weight_decay=optimizer.weight_decay)


@pytest.fixture(scope="module", params=OPTIMIZERS)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Optimizer, Bundle, Forward]:
    kind = OPTIMIZERS[request.param]
    return kind, *made(tmp_path_factory.mktemp(request.param), kind)


@pytest.mark.parametrize("rung", ["head", "tail", "deep", "full"])
def test_steps_of_the_runtime_are_those_of_torch(
    case: tuple[Optimizer, Bundle, Forward], rung: str
) -> None:
    """A short batch with sample weights, from images to trained rows."""
    kind, bundle, forward = case
    anchors, own = bundle.anchors(), bundle.parameters()
    images, labels = anchors.frames[:SAMPLES], anchors.labels[:SAMPLES]
    weights = np.linspace(0.2, 2.0, SAMPLES, dtype=np.float32)
    layers = bundle.manifest.rungs[rung].layers
    rng = np.random.default_rng(1)
    channels = {
        layer.weight: rng.permutation(len(own[layer.bias]))[: layer.rows or 3]
        for layer in layers
        if rung != "full"
    }
    step = TrainingStep(bundle, rung, own, channels, threads=1)
    batch = step.prepare(Engine(bundle, 1).latents(images, rung))
    names = {n: channels.get(la.weight) for la in layers for n in (la.weight, la.bias)}
    given = {n: torch.tensor(own[n]).requires_grad_() for n in names}
    optimizer = torch_optimizer(kind, given)
    pixels = torch.tensor(Preprocessor(VIEW)(images))
    for _ in range(STEPS):
        optimizer.zero_grad()
        padded = torch.cat([pixels, torch.zeros(BATCH - SAMPLES, *pixels.shape[1:])])
        logits = reference.forward(forward.graph, given, padded)[:SAMPLES]
        each, mean = reference.loss(
            logits, torch.tensor(labels), torch.tensor(weights), TEMPERATURE
        )
        mean.backward()
        before = {n: value.detach().clone() for n, value in given.items()}
        optimizer.step()
        with torch.no_grad():  # what is not chosen stays, weight decay or not
            for n, rows in names.items():
                if rows is not None:
                    new = given[n][rows].clone()
                    given[n].copy_(before[n])
                    given[n][rows] = new
        found = step.step(batch, labels, weights, learning_rate=RATE, temperature=TEMPERATURE)
        np.testing.assert_allclose(found.loss, each.detach().numpy(), rtol=1e-3, atol=1e-4)
    for n, value in step.applied(own).items():
        np.testing.assert_allclose(value, given[n].detach().numpy(), rtol=1e-3, atol=2e-4)
