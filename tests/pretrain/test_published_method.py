"""The published method, written down again in the plainest way, gives the same numbers.

The reference below shares the network, the batches and nothing else with the trainer: cold scores,
slices, the gradient threshold and its decay, the mask, the learning rate, E_c, C_c, both FLOP
counts and Adam (Kingma and Ba 2015, algorithm 1) are done by hand.
"""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from sel_edge.core.rng import generator
from sel_edge.data.sources import load_splits
from sel_edge.pretrain.batches import Order, Resident, fit_normalization
from sel_edge.pretrain.initialize import build_model
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.recipe import load_recipe
from tests.pretrain.conftest import FOUR_DIGITS, train

OVERRIDES = [
    "crop_padding = 1",
    "flip = false",
    "gradient_mask = {percentile = 80.0}",
    "stages = [{name = 'a', start = 0.0, end = 0.4, epochs = 2},"
    " {name = 'b', start = 0.3, end = 1.0, epochs = 1}]",
]
CPU = torch.device("cpu")


def cold_scores(model, data, normalize) -> np.ndarray:
    """Cross-entropy of every image under the first weights, in evaluation mode."""
    model.eval()
    with torch.no_grad():
        log_p = torch.log_softmax(model(normalize.of_arrays(data.frames)).double(), dim=1)
    return -log_p[np.arange(len(data)), data.labels].numpy()


def first_gamma(model, data, normalize, percentile: float) -> float:
    """The percentile of |gradient| over all parameters for one batch of 128 at fresh weights."""
    fresh = copy.deepcopy(model).train()
    chosen = generator(0, "gamma_0").choice(len(data), 128, replace=False)
    logits = fresh(normalize.of_arrays(data.frames[chosen]))
    (-torch.log_softmax(logits, 1)[range(128), data.labels[chosen]]).mean().backward()
    gradients = np.concatenate([p.grad.numpy().ravel() for p in fresh.parameters()])
    return float(np.quantile(np.abs(gradients), percentile / 100))


def easy_to_hard(scores, labels, stage) -> np.ndarray:
    """The slice of every class, sorted by score."""
    pool = []
    for label in range(4):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(scores[members], kind="stable")]
        first, last = (round(share * len(members)) for share in (stage.start, stage.end))
        pool += members[first:last].tolist()
    return np.array(sorted(pool))


def image_flops(model, backward: bool) -> int:
    """FLOPs of one image by torch's counter."""
    with FlopCounterMode(display=False) as counter:
        y = model(torch.zeros(1, 1, 8, 8)).sum()
        if backward:
            y.backward()
    model.zero_grad()
    return counter.get_total_flops()


class HandMadeAdam:
    """Adam that masks gradients first; `zeroed` is the share of the last step."""

    def __init__(self, parameters) -> None:
        self.parameters = list(parameters)
        self.size = sum(p.numel() for p in self.parameters)
        self.m, self.v = ([torch.zeros_like(p) for p in self.parameters] for _ in range(2))
        self.steps = 0
        self.zeroed = 0.0

    def step(self, rate: float, gamma: float) -> None:
        self.steps += 1
        zero = 0
        for p, m, v in zip(self.parameters, self.m, self.v, strict=True):
            g = torch.where(p.grad.abs() <= gamma, torch.zeros(()), p.grad)
            zero += int((g == 0).sum())
            m.copy_(0.9 * m + 0.1 * g)
            v.copy_(0.999 * v + 0.001 * g * g)
            scale = (v / (1 - 0.999**self.steps)).sqrt() + 1e-8
            p.data -= rate * (m / (1 - 0.9**self.steps)) / scale
            p.grad = None
        self.zeroed = zero / self.size


class ClassMeans:
    """E_c and C_c per batch, averaged over the batches of an epoch that hold the class."""

    def __init__(self) -> None:
        self.e, self.c, self.seen = np.zeros(4), np.zeros(4), np.zeros(4)

    def add(self, logits, labels) -> None:
        warm = torch.log_softmax(logits.detach().double() / 1.5, 1).numpy()
        for label in set(labels.tolist()):
            e = -warm[labels == label, label].mean()
            self.e[label] += e
            self.c[label] += max(0.0, 1.0 - e)
            self.seen[label] += 1

    def columns(self) -> dict[str, float]:
        parts = {"E": self.e / self.seen, "C": self.c / self.seen}
        return {f"{part}_{c}": values[c] for part, values in parts.items() for c in range(4)}


def reference(recipe) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """Final weights and what the history should say, epoch by epoch."""
    data = load_splits(FOUR_DIGITS).train
    normalize = fit_normalization(data)
    split = Resident(data, normalize, Arithmetic(CPU, "fp32"))
    model = build_model(4, 8, 1, "scratch", 0)
    scores = cold_scores(model, data, normalize)
    gamma_0 = first_gamma(model, data, normalize, recipe.gradient_mask.percentile)
    of_image = image_flops(model, backward=True)
    executed = image_flops(model, backward=False) * len(data) + 128 * of_image
    adam = HandMadeAdam(model.train().parameters())
    rows, paper = [], 0.0
    for index, stage in enumerate(recipe.stages):
        gamma = gamma_0 * (1 - 0.4 * index / len(recipe.stages))
        pool = easy_to_hard(scores, data.labels, stage)
        for _ in range(stage.epochs):
            rates, zeroed, classes = [], [], ClassMeans()
            for images, labels, *_ in Order(split, pool, recipe, 0, len(rows)).batches(0):
                logits = model(images)
                loss = -torch.log_softmax(logits, 1)[range(len(labels)), labels].mean()
                loss.backward()
                rates.append(1e-3 * (1 + 2 * loss.item()))
                adam.step(rates[-1], gamma)
                zeroed.append(adam.zeroed)
                classes.add(logits, labels)
                paper += 2 * adam.size * (1 - adam.zeroed) * len(labels)
                executed += of_image * len(labels)
            row = {"learning_rate_mean": np.mean(rates), "sparsity": np.mean(zeroed)}
            row |= {"flops_T": paper / 1e12, "executed_flops_T": executed / 1e12}
            rows.append(row | classes.columns())
    return model.state_dict(), rows


def test_the_trainer_does_what_was_published(tmp_path):
    recipe = load_recipe("sel-paper", OVERRIDES)
    weights, expected = reference(recipe)
    run = train(tmp_path / "run", recipe, holdout=0)
    assert len(run.history) == len(expected) == 3
    for row, want in zip(run.history, expected, strict=True):
        # Adam divides by tiny second moments, so rounding differences grow with every step.
        confidence = {k for k in want if k.startswith("C_")}  # 1 - E: off by what E is off by
        others = want.keys() - confidence
        assert {k: row[k] for k in others} == pytest.approx({k: want[k] for k in others}, rel=5e-3)
        for k in confidence:
            assert row[k] == pytest.approx(want[k], abs=5e-3 * want[f"E_{k.removeprefix('C_')}"])
    first = expected[0]
    assert run.history[0]["executed_flops_T"] == pytest.approx(first["executed_flops_T"], rel=1e-9)
    assert 0.5 < first["sparsity"] < 1.0
    trained = load_file(run.path / "model.safetensors")
    moved = [float((trained[n].double() - w.double()).abs().mean()) for n, w in weights.items()]
    assert max(moved) < 5e-3


def test_gamma_really_decays_between_stages(tmp_path):
    """With the decay the second stage zeroes less than it would without."""
    plain = [*OVERRIDES[:2], *OVERRIDES[3:]]
    sparsities = []
    for decay in (0.0, 0.9):
        mask = f"gradient_mask = {{percentile = 80.0, decay = {decay}}}"
        run = train(tmp_path / str(decay), load_recipe("sel-paper", [*plain, mask]), holdout=0)
        sparsities.append([row["sparsity"] for row in run.history])
    assert sparsities[0][0] == sparsities[1][0]
    assert sparsities[1][2] < sparsities[0][2] - 0.02
