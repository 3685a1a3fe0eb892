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
from sel_edge.pretrain.batches import fit_normalization, training_batches
from sel_edge.pretrain.initialize import build_model
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


def reference(recipe) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """Final weights and what the history should say, epoch by epoch."""
    data = load_splits(FOUR_DIGITS).train
    normalize = fit_normalization(data)
    model = build_model(4, 8, 1, "scratch", 0)
    parameters = list(model.parameters())
    size = sum(p.numel() for p in parameters)

    model.eval()
    with torch.no_grad():
        log_p = torch.log_softmax(model(normalize(data.images, CPU)).double(), dim=1)
    scores = -log_p[np.arange(len(data)), data.labels].numpy()

    fresh = copy.deepcopy(model).train()
    chosen = generator(0, "gamma_0").choice(len(data), 128, replace=False)
    logits = fresh(normalize(data.images[chosen], CPU))
    (-torch.log_softmax(logits, 1)[range(128), data.labels[chosen]]).mean().backward()
    gradients = np.abs(np.concatenate([p.grad.numpy().ravel() for p in fresh.parameters()]))
    gamma_0 = np.quantile(gradients, recipe.gradient_mask.percentile / 100)

    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, 8, 8)).sum().backward()
    flops_of_image = counter.get_total_flops()
    model.zero_grad()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, 8, 8))
    executed = counter.get_total_flops() * len(data) + 128 * flops_of_image

    model.train()
    m, v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    rows, paper, step, epoch = [], 0.0, 0, 0
    for index, stage in enumerate(recipe.stages):
        gamma = gamma_0 * (1 - 0.4 * index / len(recipe.stages))
        pool = []
        for label in range(4):
            members = np.flatnonzero(data.labels == label)
            easy_first = members[np.argsort(scores[members], kind="stable")]
            pool += easy_first[
                round(stage.start * len(members)) : round(stage.end * len(members))
            ].tolist()
        for _ in range(stage.epochs):
            rates, zeroed, e_sum, c_sum, seen = [], [], np.zeros(4), np.zeros(4), np.zeros(4)
            batches = training_batches(data, np.array(sorted(pool)), recipe, 0, epoch, 0)
            for images, labels in batches:
                n = len(labels)
                logits = model(normalize(images, CPU))
                loss = -torch.log_softmax(logits, 1)[range(n), labels].mean()
                loss.backward()
                rate = 1e-3 * (1 + 2 * loss.item())
                zero = 0
                step += 1
                for i, p in enumerate(parameters):
                    g = torch.where(p.grad.abs() <= gamma, torch.zeros(()), p.grad)
                    zero += int((g == 0).sum())
                    m[i] = 0.9 * m[i] + 0.1 * g
                    v[i] = 0.999 * v[i] + 0.001 * g * g
                    direction = m[i] / (1 - 0.9**step)
                    scale = (v[i] / (1 - 0.999**step)).sqrt() + 1e-8
                    p.data -= rate * direction / scale
                    p.grad = None
                warm = torch.log_softmax(logits.detach().double() / 1.5, 1).numpy()
                for label in set(labels.tolist()):
                    mine = labels == label
                    e = -warm[mine, label].mean()
                    e_sum[label] += e
                    c_sum[label] += max(0.0, 1.0 - e)
                    seen[label] += 1
                rates.append(rate)
                zeroed.append(zero / size)
                paper += 2 * size * (1 - zero / size) * n
                executed += flops_of_image * n
            epoch += 1
            rows.append(
                {
                    "learning_rate_mean": np.mean(rates),
                    "sparsity": np.mean(zeroed),
                    "flops_T": paper / 1e12,
                    "executed_flops_T": executed / 1e12,
                    **{f"E_{c}": e_sum[c] / seen[c] for c in range(4)},
                    **{f"C_{c}": c_sum[c] / seen[c] for c in range(4)},
                }
            )
    return model.state_dict(), rows


def test_the_trainer_does_what_was_published(tmp_path):
    recipe = load_recipe("sel-paper", OVERRIDES)
    weights, expected = reference(recipe)
    run = train(tmp_path / "run", recipe, holdout=0)
    assert len(run.history) == len(expected) == 3
    for row, want in zip(run.history, expected, strict=True):
        # Adam divides by tiny second moments, so rounding differences grow with every step.
        assert {k: row[k] for k in want} == pytest.approx(want, rel=5e-3, abs=1e-6)
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
