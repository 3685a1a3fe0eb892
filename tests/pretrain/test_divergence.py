"""Training that breaks: what was trained on is named, and nothing broken is saved."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from sel_edge.core.errors import DivergenceError
from sel_edge.pretrain import step
from sel_edge.pretrain.checkpoint import CHECKPOINT_FILE, MODEL_FILE
from sel_edge.pretrain.schedule import learning_rate
from sel_edge.pretrain.step import Stepper
from tests.pretrain.conftest import small_recipe, train


@pytest.mark.parametrize("every", [1, 4])
def test_a_loss_that_is_no_number_names_batch_step_and_rate(tmp_path, monkeypatch, every):
    """However many steps pass before losses are looked at."""
    taken: list[tuple[list[int], float]] = []
    take, losses = Stepper.take, step.sample_losses

    def watched(self: Stepper, batch, work, done):
        self._check_every = every
        taken.append((batch.chosen[:5].tolist(), learning_rate(self._setup.recipe, done, 0.0)))
        return take(self, batch, work, done)

    def broken(*args):
        return losses(*args) * (float("nan") if len(taken) == 3 else 1.0)

    monkeypatch.setattr(Stepper, "take", watched)
    monkeypatch.setattr(step, "sample_losses", broken)
    with pytest.raises(DivergenceError) as caught:
        train(tmp_path / "run", small_recipe("dense-strong", 1.0, "batch_size = 64"))
    assert len(taken) == max(3, every)
    images, rate = taken[2]
    assert "loss became nan in epoch 1, step 3," in caught.value.found
    assert f"learning rate of {rate:.3g}," in caught.value.found
    assert f"a batch of {', '.join(map(str, images))} and 59 more" in caught.value.found


def test_a_rate_that_is_too_high_stops_the_run(tmp_path):
    recipe = small_recipe("dense", 1.0, "learning_rate = 9.9", "loss_gain = 100.0")
    with pytest.raises(DivergenceError, match="a learning rate of"):
        train(tmp_path / "run", recipe)


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    """The last step of an epoch may be the one that breaks them: its loss was still a number."""
    recipe = small_recipe(
        "dense", 0.1, "optimizer = 'sgd'", "learning_rate = 9.9", "loss_gain = 100.0",
        "batch_size = 4096",
    )  # fmt: skip
    with pytest.raises(DivergenceError, match="batch of"):
        train(tmp_path / "run", recipe)
    assert not (tmp_path / "run" / MODEL_FILE).exists()
    kept = load_file(tmp_path / "run" / CHECKPOINT_FILE)
    assert all(t.isfinite().all() for name, t in kept.items() if name.startswith("model."))
