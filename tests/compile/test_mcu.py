"""Images for microcontrollers: the integers answer like the network that they were made of."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from sel_edge.bundle.preprocessing import ImagePreprocessing, Preprocessing, SignalPreprocessing
from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.mcu import ImageSettings, compile_image, room_for
from sel_edge.compile.mcu_plan import narrowed, need_of, plan
from sel_edge.compile.mcu_steps import steps_of
from sel_edge.core.errors import BundleError
from sel_edge.core.standin import StandIn
from sel_edge.mcu.image import Image
from sel_edge.mcu.layer import Operation
from sel_edge.mcu.payload import overlay_payload
from sel_edge.mcu.read import read_image
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from tests.compile.models import evaluate, ours
from tests.compile.networks import Network, exported, resnet18, settled

CLASSES = ("a", "b", "c", "d", "e")


class Pooled(nn.Module):
    """Every pool, a Relu whose input is read twice, and a linear layer of a larger input."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.largest = nn.MaxPool2d(3, 2, 1)
        self.mean = nn.AvgPool2d(2)
        self.middle = nn.Linear(6 * 3 * 3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.first(x)
        out = self.mean(self.largest(torch.relu(out) + out))
        return torch.relu(self.middle(out.flatten(1)))[:, :, None, None]


def pooled() -> nn.Module:
    return Network(Pooled(), 10)


def gray() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(1, 5, 3, 2), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 7, 1))
    return Network(body, 7)


def grouped() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=4), nn.ReLU())
    return Network(body, 12)


OWN = {"pooled": (pooled, (3, 12, 12)), "gray": (gray, (1, 9, 9)), "grouped": (grouped, (3, 8, 8))}
NAMES = ("resnet18", "mobilenet", "resnet1d", *OWN)


@cache
def network(name: str) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """A network as our exporter writes it, and the shape of one sample."""
    if name in OWN:
        make, shape = OWN[name]
        return exported(settled(make, shape), shape), shape
    _, shape, model = ours(name)
    return model, shape


@cache
def folded(name: str) -> Forward:
    return fold(load_graph(network(name)[0], "n"))


def view_of(shape: tuple[int, ...]) -> Preprocessing:
    """A preprocessing under which pixels are about normally distributed."""
    channels, *sides = shape
    mean, std = (0.5,) * channels, (0.25,) * channels
    if len(sides) == 1:
        return SignalPreprocessing(channels, sides[0], mean, std)
    return ImagePreprocessing(*sides, channels, mean, std)


def frames_of(shape: tuple[int, ...], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [n, H, W, C] of images, or None, and what the network takes."""
    draw = np.random.default_rng(seed)
    if len(shape) == 2:
        signals = draw.standard_normal((count, *shape), np.float32)
        return signals, signals
    # Pixels near each other are alike, so that means differ from image to image.
    level = draw.integers(40, 216, (count, 1, 1, shape[0]))
    noise = draw.integers(-40, 40, (count, *shape[1:], shape[0]))
    pixels = (level + noise).astype(np.uint8)
    return pixels, ((pixels / np.float32(255) - 0.5) / 0.25).transpose(0, 3, 1, 2)


def image_of(name: str) -> Image:
    shape = network(name)[1]
    settings = ImageSettings(CLASSES, view_of(shape), StandIn((0.0, 1.0), (0.0, 2.0)), "ab" * 32)
    return compile_image(folded(name), settings, frames_of(shape, 64, 0)[1].astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_integers_answer_like_the_network(name: str):
    """The error of a logit is a small part of how much logits differ."""
    image = image_of(name)
    assert read_image(image.content).content == image.content
    frames, inputs = frames_of(network(name)[1], 64, 1)
    taken = image.quantize_signals(frames) if image.pixels is None else frames
    answers = infer(running(image), taken)
    forward = folded(name)
    outputs = {key: forward.graph.outputs[key] for key in ("features", "logits")}
    model = to_model(replace(forward.graph, outputs=outputs))
    features, logits = evaluate(model, inputs.astype(np.float32))
    spread = logits.std(axis=0).mean()
    error = np.sqrt(((answers.logits / 256 - logits) ** 2).mean())
    assert error < 0.1 * spread, (error, spread)
    scale = image.layers[image.features_layer]
    shown = (answers.features.astype(int) - scale.zero_out) * scale.scale
    assert np.abs(shown - features).max() < 0.1 * np.abs(features).max() + scale.scale
    assert (answers.labels == logits.argmax(axis=1)).mean() > 0.9


def test_activations_are_part_of_the_layer_before():
    operations = [step.operation for step in steps_of(folded("resnet18")).steps]
    assert operations.count(Operation.RELU) == 0
    assert operations.count(Operation.ADD) == 8
    alone = [step.operation for step in steps_of(folded("pooled")).steps]
    assert alone.count(Operation.RELU) == 1


def test_a_linear_layer_of_a_larger_input_is_a_convolution():
    layers = image_of("pooled").layers
    large = next(layer for layer in layers if layer.out_shape == (10, 1, 1))
    assert (large.operation, large.in_shape) == (Operation.CONV, (6, 3, 3))
    assert large.kernel == (3, 3)


def test_a_signal_has_height_1():
    image = image_of("resnet1d")
    assert image.input_shape == (2, 1, 64)
    assert image.layers[0].kernel == (1, 7)
    assert image.layers[0].padding == (0, 3, 0, 3)
    assert image.pixels is None


def test_depthwise_convolutions_keep_their_groups():
    layers = image_of("mobilenet").layers
    assert {layer.groups for layer in layers if layer.groups > 1} == {32, 64}
    six = [layer for layer in layers if layer.operation == Operation.CONV and layer.groups > 1]
    assert all(layer.least == layer.zero_out for layer in six)


def test_the_exporter_and_the_delta_maker_have_one_rule():
    """The bundle's own parameters need no overlay."""
    for name in ("resnet18", "pooled", "mobilenet"):
        image, graph = image_of(name), folded(name).graph
        steps = [step for step in steps_of(folded(name)).steps if step.weight]
        biases = {step.weight: step.bias for step in steps}
        assert overlay_payload(running(image), graph.constants, biases, CLASSES) == b""


def test_a_width_16_resnet_needs_less_than_100_kb():
    network = narrowed(steps_of(folded("resnet18")), 2.0)
    need = need_of(network, CLASSES, 13)
    assert need.arena < 100_000
    tensors = plan(network, 13).arena_bytes - plan(network, 13).scratch_bytes
    assert tensors < 3 * 16 * 32 * 32 + 1024  # three tensors of a residual block, and the ends


def test_a_narrower_network_is_known_before_it_is_trained():
    """What is proposed for another width is what that width needs."""
    wide = fold(load_graph(exported(settled(lambda: resnet18(16), (3, 32, 32)), (3, 32, 32)), "n"))
    found = need_of(narrowed(steps_of(wide), 0.5), CLASSES, 13)
    assert found == need_of(steps_of(folded("resnet18")), CLASSES, 13)
    image = image_of("resnet18")
    assert found.arena == image.arena_bytes
    assert 0 <= found.image - len(image.content) <= 128
    assert found.table == 8 * image.entries


def test_there_is_room_for_classes():
    assert image_of("gray").most_classes == len(CLASSES) + 8
    assert room_for(255, None) == 256
    for classes, room in ((257, None), (5, 4), (5, 257)):
        with pytest.raises(BundleError, match="256"):
            room_for(classes, room)
