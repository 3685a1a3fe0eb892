"""Parts of the network that no longer learn: what they say of a frame, computed once.

Freezing from the stem on is FreezeOut's (Brock et al. 2017, arXiv:1706.04983); to keep what the
frozen parts say is possible because, with their statistics fixed as well, it no longer changes.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sel_edge.core.errors import ConfigError
from sel_edge.core.rng import generator
from sel_edge.pretrain.batches import evaluation_batch, moves_of
from sel_edge.pretrain.model import ResNet18
from sel_edge.pretrain.ranks import Ranks
from sel_edge.pretrain.recipe import Stage
from sel_edge.pretrain.resolution import resized
from sel_edge.pretrain.state import Setup

# Of the memory that is free, what the kept outputs may take.
MEMORY_SHARE = 0.6


def freeze(model: ResNet18, parts: int) -> None:
    """Put a model into training mode, with its first `parts` parts and their statistics fixed."""
    model.train()
    for module in model.front(parts):
        module.eval()


class FrozenFront:
    """What the frozen parts of a stage say of every frame of its pool, in each of its views.

    Args:
        setup: what stays the same.
        model: with its frozen parts in evaluation mode.
        stage: its `frozen` and `views` are above 0.
        pool: int64 indices of the frames.
        size: of the frames in this stage.
        ranks: every process computes a part and holds the whole.

    Raises:
        ConfigError: memory does not hold them.
    """

    def __init__(
        self,
        setup: Setup,
        model: ResNet18,
        stage: Stage,
        pool: NDArray[np.int64],
        size: tuple[int, ...],
        ranks: Ranks,
    ) -> None:
        self._arithmetic, count = setup.arithmetic, len(pool)
        chosen = torch.from_numpy(pool).to(setup.train.device)
        self._rows = torch.zeros(len(setup.train), dtype=torch.int64, device=chosen.device)
        self._rows[chosen] = torch.arange(count, device=chosen.device)
        one = self._of(setup, model, stage, size, 0, chosen[:1])
        _check_memory(one.nbytes * count * stage.views, setup.arithmetic.device, stage, ranks)
        self._views = [one.new_zeros((count, *one.shape[1:])) for _ in range(stage.views)]
        batch = evaluation_batch(setup.train.data.frames)
        for number, view in enumerate(self._views):
            for start in range(ranks.rank * batch, count, ranks.world * batch):
                part = slice(start, start + batch)
                view[part] = self._of(setup, model, stage, size, number, chosen[part])
            ranks.sum(view)

    @staticmethod
    def _of(
        setup: Setup,
        model: ResNet18,
        stage: Stage,
        size: tuple[int, ...],
        view: int,
        chosen: Tensor,
    ) -> Tensor:
        """The frozen parts' output for some frames, each moved as its view has it."""
        rng = generator(setup.seed, "view", stage.name, view, int(chosen[0]))
        numbers = chosen.cpu().numpy()
        moves = moves_of(setup.train, numbers, setup.recipe, setup.seed, view, rng)
        with torch.no_grad(), setup.arithmetic.autocast():
            return model.until(resized(setup.train.frames(chosen, moves), size), 0, stage.frozen)

    def frames(self, epoch: int, chosen: Tensor) -> Tensor:
        """What goes into the first part that learns, float [n, C, ...]; views come in turn."""
        rows = self._rows[chosen]
        return self._arithmetic.placed(self._views[epoch % len(self._views)][rows])


def _check_memory(wanted: int, device: torch.device, stage: Stage, ranks: Ranks) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
    else:  # the processes of a machine share its memory
        free = _available_bytes() // ranks.world
    if wanted > MEMORY_SHARE * free:
        raise ConfigError(
            f"The stage {stage.name!r} keeps what {stage.frozen} frozen parts say of every frame "
            f"that it trains on in {stage.views} views: {wanted / 2**30:.1f} GiB.",
            f"{free / 2**30:.1f} GiB are free, and {MEMORY_SHARE:.0%} of that may be taken.",
            "Set views = 0, which computes it every time, or freeze more parts: later ones say "
            "less.",
        )


def _available_bytes() -> int:
    """Memory that can be had without swapping; what the system itself counts where it does."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
