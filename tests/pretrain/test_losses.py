"""The loss, and how loud a network's answers are."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from sel_edge.data.sources import load_splits
from sel_edge.pretrain.losses import Recalled, loudness, sample_losses
from sel_edge.pretrain.recipe import load_recipe
from sel_edge.pretrain.trained import load_trained
from tests.pretrain.conftest import FOUR_DIGITS, small_recipe, train

PLAIN = load_recipe("dense")
NORMED = load_recipe("dense", ["logit_norm = 10.0"])
SMOOTHED = load_recipe("dense", ["label_smoothing = 0.1"])
LOGITS = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 5


def test_without_a_norm_it_is_cross_entropy():
    expected = cross_entropy(LOGITS, LABELS, reduction="none")
    torch.testing.assert_close(sample_losses(LOGITS, LABELS, PLAIN), expected)
    assert loudness(LOGITS, PLAIN) == 1.0


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_with_a_norm_louder_answers_do_not_help(factor):
    expected = sample_losses(LOGITS, LABELS, NORMED)
    torch.testing.assert_close(sample_losses(factor * LOGITS, LABELS, NORMED), expected)
    settled = factor * LOGITS * loudness(factor * LOGITS, NORMED)
    assert float(settled.norm(dim=1).mean()) == pytest.approx(10.0, rel=0.2)


def test_a_network_without_an_answer_has_a_loss_all_the_same():
    assert sample_losses(torch.zeros(1, 5), torch.tensor([0]), NORMED).isfinite().all()


def test_earlier_answers_stand_for_a_share_of_the_label():
    said, shares = LOGITS.roll(1, 0).softmax(1), torch.linspace(0, 1, 20)
    found = sample_losses(LOGITS, LABELS, SMOOTHED, Recalled(said, shares))
    plain = torch.nn.functional.one_hot(LABELS, 5) * 0.9 + 0.1 / 5
    targets = plain + shares[:, None] * (said - plain)
    torch.testing.assert_close(found, cross_entropy(LOGITS, targets, reduction="none"))


def test_a_trained_network_answers_as_loudly_as_its_loss_had_it(tmp_path):
    recipe = small_recipe("dense-strong", 0.2, "logit_norm = 10.0", "learning_rate = 0.05")
    trained = load_trained(train(tmp_path / "run", recipe).path)
    _, logits = trained.predict(load_splits(FOUR_DIGITS).train.frames)
    norms = torch.from_numpy(logits).norm(dim=1)
    assert float(norms.mean()) == pytest.approx(10.0, rel=0.02)
