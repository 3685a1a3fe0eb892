"""What the network said of every training frame when it was trained on last.

Training computes it anyway; no pass is made for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sel_edge.pretrain.losses import Recalled
from sel_edge.pretrain.ranks import Ranks
from sel_edge.pretrain.recipe import Recipe

LOSSES, ANSWERS = "curriculum.losses", "curriculum.answers"
"""Names in a checkpoint."""


class Remembered:
    """Losses, and answers if the recipe recalls them, of all training frames.

    Args:
        recipe: whether it recalls answers.
        frames, classes: how many there are.
        device: where the network learns.

    Attributes:
        losses: float32 [2, N]: before the running epoch and, so far, in it; infinite where a frame
            was not trained on.
    """

    def __init__(self, recipe: Recipe, frames: int, classes: int, device: torch.device) -> None:
        self.losses = torch.full((2, frames), torch.inf, device=device)
        rows = frames if recipe.recall else 0
        self._answers = torch.zeros((rows, classes), dtype=torch.float16, device=device)

    def begin_epoch(self) -> None:
        """What was said so far was said before the running epoch."""
        self.losses[0] = self.last_losses()
        self.losses[1] = torch.inf

    def last_losses(self) -> Tensor:
        """Of every frame, when it was trained on last; infinite if it never was."""
        before, now = self.losses
        return torch.where(now.isfinite(), now, before)

    def note(self, chosen: Tensor, losses: Tensor, heard: Tensor) -> None:
        """Remember a step: indices int64 [n], losses float32 [n], and logits float32 [n, K]."""
        self.losses[1, chosen] = losses
        if len(self._answers):
            self._answers[chosen] = heard.softmax(dim=1).half()

    def recalled(self, chosen: Tensor, share: float) -> Recalled | None:
        """Earlier answers for frames int64 [n]; frames without one have a share of 0."""
        if not len(self._answers):
            return None
        known = self.losses[0, chosen].isfinite()
        return Recalled(self._answers[chosen].float(), share * known)

    def gather(self, ranks: Ranks) -> None:
        """Make what every process saw known to all of them; may be called twice."""
        if ranks.world > 1 and len(self._answers):
            unseen = self.losses[1].isinf().unsqueeze(1)
            new = ranks.least(self._answers.float().masked_fill(unseen, torch.inf))
            self._answers.copy_(torch.where(new.isfinite(), new, self._answers.float()))
        ranks.least(self.losses)

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint; `load` is the inverse."""
        kept = {LOSSES: self.losses}
        return kept | {ANSWERS: self._answers} if len(self._answers) else kept

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what a checkpoint holds.

        Raises:
            KeyError, RuntimeError: it is of another run.
        """
        self.losses.copy_(tensors[LOSSES])
        if len(self._answers):
            self._answers.copy_(tensors[ANSWERS])
