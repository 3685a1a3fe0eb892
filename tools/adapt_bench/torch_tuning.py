"""Fine-tuning with torch: of everything, of the classifier, of the normalization, of no weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from sel_edge.core.rng import generator
from sel_edge.pretrain.model import ResNet18
from tools.adapt_bench.way import PLAIN, Way

BATCH = 32
MOMENTUM = 0.9
TENT_BATCH = 64
TENT_LEARNING_RATE = 1e-3
FORWARD_BATCH = 64
"""Where nothing is trained; batches of hundreds leave the caches and take up to twice as long."""


@dataclass(frozen=True)
class Settings:
    """How to fine-tune.

    Attributes:
        epochs: passes over labels and replay.
        learning_rate: of gradient descent with momentum, falling linearly to zero.
        batch_statistics: whether batch normalization is in training mode.
        balanced: whether every class is drawn equally often.
    """

    epochs: int
    learning_rate: float
    batch_statistics: bool
    balanced: bool


@dataclass(frozen=True)
class Lesson:
    """What there is to learn from.

    Attributes:
        inputs: float32 [N, C, H, W], labels first, replay after; normalized once for all epochs.
        labels: int64 [N].
        classes: how many there are in all.
    """

    inputs: Tensor
    labels: Tensor
    classes: int


@dataclass(frozen=True)
class Tuned:
    """A network after fine-tuning, and how many samples it took, counted each time."""

    model: ResNet18
    samples: int


def fine_tune(
    model: ResNet18,
    lesson: Lesson,
    settings: Settings,
    seed: int,
    way: Way = PLAIN,
    samples: int | None = None,
) -> Tuned:
    """Train all parameters of a copy of a network.

    Args:
        model: where to start; new rows are added for classes that it lacks.
        lesson: what to learn from.
        settings: how.
        seed: of the order.
        way: how torch computes.
        samples: stop once so many were drawn; None for all.
    """
    model = way.network(with_classes(model, lesson.classes, seed)).train(settings.batch_statistics)
    parameters, rate = list(model.parameters()), settings.learning_rate
    placed = Lesson(way.inputs(lesson.inputs), lesson.labels, lesson.classes)
    orders = _orders(lesson.labels.numpy(), settings, seed, samples)
    drawn = _descend(model, parameters, placed, orders, rate, way)
    return Tuned(model.eval(), drawn)


def fine_tune_classifier(
    model: ResNet18, lesson: Lesson, settings: Settings, seed: int, way: Way = PLAIN
) -> Tuned:
    """Train the classifier of a copy of a network, on features that are computed once.

    Nothing below the classifier changes and nothing is augmented, so every epoch would compute the
    same features again. Its samples are therefore those of one epoch.
    """
    model = way.network(with_classes(model, lesson.classes, seed)).eval()
    x = way.inputs(lesson.inputs)
    with torch.no_grad(), way.autocast():
        parts = [model.features(part).float() for part in torch.split(x, FORWARD_BATCH)]
    seen = Lesson(torch.cat(parts), lesson.labels, lesson.classes)
    orders = _orders(lesson.labels.numpy(), settings, seed, None)
    _descend(model.fc, list(model.fc.parameters()), seen, orders, settings.learning_rate, PLAIN)
    return Tuned(model, len(lesson.labels))


def step(
    forward: Callable[[Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    way: Way,
) -> None:
    """Forward pass, backward pass and optimizer, once."""
    with way.autocast():
        logits = forward(inputs)
    loss = cross_entropy(logits.float(), labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimizer.step()


def gradient_descent(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """What every step of full fine-tuning uses."""
    return torch.optim.SGD(parameters, rate, momentum=MOMENTUM, fused=True)


def _descend(
    forward: Callable[[Tensor], Tensor],
    parameters: list[nn.Parameter],
    lesson: Lesson,
    orders: list[NDArray[np.int64]],
    rate: float,
    way: Way,
) -> int:
    """One step per order; how many samples they drew."""
    optimizer = gradient_descent(parameters, rate)
    for number, order in enumerate(orders):
        optimizer.param_groups[0]["lr"] = rate * (1 - number / len(orders))
        step(forward, optimizer, lesson.inputs[order], lesson.labels[order], way)
    return sum(len(order) for order in orders)


def with_classes(model: ResNet18, classes: int, seed: int) -> ResNet18:
    """A copy whose classifier has so many rows; new ones are as torch initializes them."""
    model = copy.deepcopy(model)
    known = model.fc.out_features
    if classes > known:
        torch.manual_seed(seed)
        grown = nn.Linear(model.fc.in_features, classes)
        with torch.no_grad():
            grown.weight[:known], grown.bias[:known] = model.fc.weight, model.fc.bias
        model.fc = grown
    return model


def _orders(
    labels: NDArray[np.int64], settings: Settings, seed: int, samples: int | None
) -> list[NDArray[np.int64]]:
    """The indices of every step, until all epochs are over or enough samples were drawn."""
    found, drawn = [], 0
    for order in _batches(labels, settings, seed):
        if samples is not None and drawn >= samples:
            break
        found.append(order)
        drawn += len(order)
    return found


def _batches(
    labels: NDArray[np.int64], settings: Settings, seed: int
) -> Iterator[NDArray[np.int64]]:
    rng = generator(seed, "order")
    weights = 1.0 / np.bincount(labels)[labels]
    for _ in range(settings.epochs):
        if settings.balanced:
            order = rng.choice(len(labels), len(labels), p=weights / weights.sum())
        else:
            order = rng.permutation(len(labels))
        # A rest of one sample has no batch statistics.
        for start in range(0, len(order) - 1, BATCH):
            yield order[start : start + BATCH]


class Tent:
    """Entropy minimization over the normalization's scale and shift (Wang et al. 2021).

    Args:
        model: where to start; it is copied.
        way: how torch computes.
    """

    def __init__(self, model: ResNet18, way: Way = PLAIN) -> None:
        self.model, self._way = way.network(copy.deepcopy(model)).train(), way
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        chosen: list[nn.Parameter] = []
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
                module.running_mean = module.running_var = None
                chosen += [module.weight, module.bias]
        for parameter in chosen:
            parameter.requires_grad_()
        self._optimizer = torch.optim.Adam(chosen, TENT_LEARNING_RATE)

    def learn(self, inputs: Tensor) -> None:
        """See the next frames of a stream, float [N, C, H, W]."""
        for part in torch.split(self._way.inputs(inputs), TENT_BATCH):
            with self._way.autocast():
                logits: Tensor = self.model(part)
            logits = logits.float()
            entropy = -(softmax(logits, 1) * torch.log_softmax(logits, 1)).sum(1).mean()
            self._optimizer.zero_grad()
            entropy.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()


def batch_statistics(model: ResNet18, inputs: Tensor) -> ResNet18:
    """A copy whose normalization has the statistics of these inputs, float [N, C, H, W]."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(inputs)
    return model.eval()
