"""The yardstick: torch fine-tuning with the same labels and the same replay, and its relatives.

Full fine-tuning is tuned with the exam in view, in its favour: all of `GRID` at five epochs, then
the best few at twenty too, and the best of them all counts, with its own cost.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from sel_edge.core.rng import generator
from sel_edge.pretrain.batches import Normalization
from sel_edge.pretrain.model import ResNet18

BATCH = 32
MOMENTUM = 0.9
TENT_BATCH = 64
TENT_LEARNING_RATE = 1e-3
LONG = 20
FINALISTS = 2


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


GRID = tuple(
    Settings(5, rate, statistics, balanced)
    for rate in (0.003, 0.01, 0.03)
    for statistics in (False, True)
    for balanced in (False, True)
)


@dataclass(frozen=True)
class Lesson:
    """What there is to learn from.

    Attributes:
        frames: uint8 [N, H, W, C], labels first, replay after.
        labels: int64 [N].
        classes: how many there are in all.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int


@dataclass(frozen=True)
class Tuned:
    """A network after fine-tuning.

    Attributes:
        samples: forward and backward passes, in samples.
        step_s: seconds of one step of `BATCH` samples, median.
    """

    model: ResNet18
    samples: int
    step_s: float

    @property
    def wall_s(self) -> float:
        """Seconds of all steps."""
        return self.samples / BATCH * self.step_s


def fine_tune(
    model: ResNet18,
    normalize: Normalization,
    lesson: Lesson,
    settings: Settings,
    seed: int,
    trained: Callable[[nn.Module], list[nn.Parameter]] = lambda model: list(model.parameters()),
    steps_max: int | None = None,
) -> Tuned:
    """Fine-tune a copy of a network.

    Args:
        model: where to start; new rows are added for classes that it lacks.
        normalize: from pixels to its input.
        lesson: what to learn from.
        settings: how.
        seed: of the order.
        trained: which parameters change.
        steps_max: stop after so many steps; None for none.
    """
    model = with_classes(model, lesson.classes, seed)
    model.train(settings.batch_statistics)
    chosen = trained(model)
    optimizer = torch.optim.SGD(chosen, settings.learning_rate, momentum=MOMENTUM)
    for parameter in model.parameters():
        parameter.requires_grad_(any(parameter is other for other in chosen))
    batches = list(_batches(lesson.labels, settings, seed))[:steps_max]
    times, samples = [], 0
    for number, batch in enumerate(batches):
        start = time.perf_counter()
        optimizer.param_groups[0]["lr"] = settings.learning_rate * (1 - number / len(batches))
        logits = model(normalize(lesson.frames[batch], torch.device("cpu")))
        loss = cross_entropy(logits, torch.from_numpy(lesson.labels[batch]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        times.append(time.perf_counter() - start)
        samples += len(batch)
    return Tuned(model.eval(), samples, float(np.median(times)))


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


def _batches(
    labels: NDArray[np.int64], settings: Settings, seed: int
) -> Iterator[NDArray[np.int64]]:
    rng = generator(seed, "order")
    counts = np.bincount(labels)
    weights = 1.0 / counts[labels]
    for _ in range(settings.epochs):
        if settings.balanced:
            order = rng.choice(len(labels), len(labels), p=weights / weights.sum())
        else:
            order = rng.permutation(len(labels))
        # A rest of one sample has no batch statistics.
        for start in range(0, len(order) - 1, BATCH):
            yield order[start : start + BATCH]


def best_full(
    tune: Callable[[Settings], Tuned], examine: Callable[[Tuned], float]
) -> tuple[Settings, Tuned]:
    """The best of `GRID`, and of its best few at twenty epochs, by the exam itself."""
    found = [(settings, tune(settings)) for settings in GRID]
    scores = [examine(tuned) for _, tuned in found]
    for index in np.argsort(scores)[::-1][:FINALISTS]:
        settings = replace(found[index][0], epochs=LONG)
        found.append((settings, tune(settings)))
        scores.append(examine(found[-1][1]))
    return found[int(np.argmax(scores))]


def tent(
    model: ResNet18, normalize: Normalization, frames: NDArray[np.uint8]
) -> tuple[Tuned, NDArray[np.int64]]:
    """Entropy minimization over the normalization's scale and shift (Wang et al. 2021).

    Returns:
        The network after the stream, and its answers on the way, int64 [N].
    """
    model = copy.deepcopy(model).train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    chosen = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
            chosen += [module.weight.requires_grad_(), module.bias.requires_grad_()]
    optimizer = torch.optim.Adam(chosen, TENT_LEARNING_RATE)
    answers, times = [], []
    for start in range(0, len(frames), TENT_BATCH):
        begun = time.perf_counter()
        logits: Tensor = model(normalize(frames[start : start + TENT_BATCH], torch.device("cpu")))
        entropy = -(softmax(logits, 1) * torch.log_softmax(logits, 1)).sum(1).mean()
        optimizer.zero_grad()
        entropy.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        answers.append(logits.detach().argmax(1).numpy())
        times.append((time.perf_counter() - begun) * BATCH / TENT_BATCH)
    return Tuned(model, len(frames), float(np.median(times))), np.concatenate(answers)


def batch_statistics(
    model: ResNet18, normalize: Normalization, frames: NDArray[np.uint8]
) -> ResNet18:
    """A copy whose normalization has the statistics of these frames."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.inference_mode():
        model(normalize(frames, torch.device("cpu")))
    return model.eval()
