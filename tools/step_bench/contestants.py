"""The functions that are timed: the runtime's, and torch's for the same work and for all of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sel_edge.compile.graph import Graph, to_model
from sel_edge.core.embarrassment import TEMPERATURE
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.renormalize import Renormalizer
from sel_edge.runtime.session import Buffer, Session
from tools.step_bench.ours import LEARNING_RATE, MOMENTUM, TRAINING, Training, samples
from tools.step_bench.subject import VIEW, Subject, behind_cut, trained_parameters

MATMUL_SIZE = 512
MATMUL_FLOPS = 2 * MATMUL_SIZE**3
MAX_LOSS_DIFFERENCE = 1e-3

Timed = dict[str, Callable[[], object]]


def contestants(subject: Subject, threads: int, folder: Path) -> Timed:
    """All functions to time.

    For each rung RUNG of the bundle there are "RUNG", "RUNG.torch", and "RUNG.prepare" of those
    that train; besides "forward", torch's step of everything "torch.full" and
    "torch.full_batchnorm", and onnxruntime's "matmul".

    Args:
        subject: the network.
        threads: of onnxruntime; torch's are set already.
        folder: takes the graph of the matrix product.

    Raises:
        RuntimeError: ours and torch's step of a rung do not begin with the same loss.
    """
    bundle = subject.bundle
    engine = Engine(bundle, threads)
    timed: Timed = {"matmul": matmul(folder / "matmul.onnx", threads)}
    for rung in TRAINING:
        if rung in bundle.manifest.rungs:
            timed |= training_pair(subject, rung, engine, threads)
    timed["torch.full"] = timed.pop("full.torch")
    normalizer = Renormalizer(bundle, {}, threads)
    images, labels = samples(bundle, normalizer.frames)
    timed["norm"] = lambda: normalizer.estimate(images)
    timed["forward"] = lambda: engine.infer(images)
    timed["norm.torch"] = torch_forward(
        subject.network, torch.from_numpy(Preprocessor(VIEW)(images))
    )
    batch = bundle.manifest.rungs["full"].batch
    network = copy.deepcopy(subject.network).train()
    inputs = torch.from_numpy(Preprocessor(VIEW)(images[:batch]))
    everything = list(network.parameters())
    timed["torch.full_batchnorm"] = torch_step(
        network, everything, inputs, torch.from_numpy(labels[:batch])
    )
    return timed


def training_pair(subject: Subject, rung: str, engine: Engine, threads: int) -> Timed:
    """Our step of a rung and torch's of the same layers from the same latents."""
    training = Training(subject.bundle, rung, engine, threads)
    model, described = subject.folded(), subject.bundle.manifest.rungs[rung]
    parameters = trained_parameters(model, described).values()
    latents, labels = torch.from_numpy(training.latents), torch.from_numpy(training.labels)
    theirs = torch_step(behind_cut(model, described), parameters, latents, labels)
    difference = abs(float(training.step().loss.mean()) - float(theirs()))
    if not difference < MAX_LOSS_DIFFERENCE:
        raise RuntimeError(f"{rung}: our loss differs from torch's by {difference:.2e}")
    pair: Timed = {rung: training.step, f"{rung}.torch": theirs}
    return pair | ({f"{rung}.prepare": training.prepare} if rung in ("tail", "deep") else {})


def torch_step(
    model: nn.Module, trained: Iterable[nn.Parameter], inputs: Tensor, labels: Tensor
) -> Callable[[], Tensor]:
    """A training step in eager mode; returns the loss before it."""
    optimizer = torch.optim.SGD(trained, LEARNING_RATE, momentum=MOMENTUM)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs) / TEMPERATURE, labels)
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return step


def torch_forward(model: nn.Module, inputs: Tensor) -> Callable[[], Tensor]:
    """A plain forward pass."""

    def forward() -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(inputs)
        return logits

    return forward


def matmul(path: Path, threads: int) -> Callable[[], None]:
    """One large matrix product in onnxruntime: the best rate that its steps are likely to reach."""
    graph, size = Graph(), (MATMUL_SIZE, MATMUL_SIZE)
    left, right = graph.input("left", "float32", size), graph.input("right", "float32", size)
    graph.outputs["product"] = graph.add("MatMul", left, right)
    path.write_bytes(to_model(graph).SerializeToString())
    rng = np.random.default_rng(0)
    inputs = {name: Buffer(rng.standard_normal(size, np.float32)) for name in ("left", "right")}
    outputs = {"product": Buffer(np.zeros(size, np.float32))}
    return Session(path, threads).bind(inputs, outputs).run
