"""What the network said of every frame, between epochs and between processes."""

from __future__ import annotations

import copy

import torch

from sel_edge.pretrain.recipe import load_recipe
from sel_edge.pretrain.remembered import Remembered

CPU = torch.device("cpu")
RECALLS = load_recipe("dense", ["recall = 0.5"])
LOGITS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
LOSSES = torch.tensor([0.5, 1.5, 2.5])


def remembered() -> Remembered:
    """Of six frames in four classes."""
    return Remembered(RECALLS, 6, 4, CPU)


def noted(rows: list[int]) -> Remembered:
    """Saw these frames in its first epoch."""
    found = remembered()
    found.begin_epoch()
    found.note(torch.tensor(rows), LOSSES[: len(rows)], LOGITS[: len(rows)])
    return found


def test_an_answer_is_recalled_from_the_next_epoch_on():
    found, rows = noted([4, 0, 2]), torch.tensor([0, 1, 2, 4])
    assert not found.recalled(rows, 0.5).shares.any()
    found.begin_epoch()
    said = found.recalled(rows, 0.5)
    assert said.shares.tolist() == [0.5, 0.0, 0.5, 0.5]
    expected = LOGITS[[1, 2, 0]].softmax(1)
    torch.testing.assert_close(said.answers[[0, 2, 3]], expected, atol=1e-3, rtol=1e-3)


def test_what_an_epoch_leaves_out_is_remembered_from_the_one_before():
    found = noted([4, 0, 2])
    found.begin_epoch()
    found.note(torch.tensor([0]), torch.tensor([9.0]), LOGITS[:1])
    found.begin_epoch()
    assert found.last_losses()[[0, 2, 4]].tolist() == [9.0, 2.5, 0.5]
    assert found.recalled(torch.tensor([2]), 1.0).shares.tolist() == [1.0]


def test_a_recipe_that_recalls_nothing_keeps_no_answers():
    found = Remembered(load_recipe("dense"), 6, 4, CPU)
    found.note(torch.tensor([1]), LOSSES[:1], LOGITS[:1])
    assert found.recalled(torch.tensor([1]), 0.5) is None
    assert list(found.tensors()) == ["curriculum.losses"]


def test_a_checkpoint_holds_all_of_it():
    one, other = noted([4, 0, 2]), remembered()
    other.load({name: tensor.clone() for name, tensor in one.tensors().items()})
    assert all(torch.equal(other.tensors()[name], one.tensors()[name]) for name in one.tensors())


class Hearing:
    """Stands for the ranks of one of two processes: what the other says is known beforehand."""

    world = 2

    def __init__(self, others: list[torch.Tensor] | None = None) -> None:
        self.said: list[torch.Tensor] = []
        self._others = others

    def least(self, tensor: torch.Tensor) -> torch.Tensor:
        other = self._others[len(self.said)] if self._others else tensor
        self.said.append(tensor.clone())
        return torch.minimum(tensor, other, out=tensor)


def gather(one: Remembered, other: Remembered) -> None:
    """Both processes hear what both of them say."""
    said = []
    for part in (one, other):
        copy.deepcopy(part).gather(ranks := Hearing())
        said.append(ranks.said)
    one.gather(Hearing(said[1]))
    other.gather(Hearing(said[0]))


def test_processes_learn_from_each_other_what_they_saw():
    """Twice, since a checkpoint within an epoch gathers before its end does."""
    both, one, other = noted([4, 0, 2]), noted([4, 0]), remembered()
    other.begin_epoch()
    other.note(torch.tensor([2]), LOSSES[2:], LOGITS[2:])
    for _ in range(2):
        gather(one, other)
    for part in (one, other):
        for name, tensor in part.tensors().items():
            assert torch.equal(tensor, both.tensors()[name]), name
