"""The processes that train one network together, as `torchrun` starts them; usually one.

Every process holds the whole network, the whole data and the embarrassment of every image, and
computes its share of every step. Only the leader writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sel_edge.core.errors import ConfigError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: of this process, from 0.
        world: how many there are.
        local: of this process among those of its machine, from 0.
        device: that they talk with each other on.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Whether this process writes what all have made."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place; on the training device."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def least(self, tensor: Tensor) -> Tensor:
        """The least over all processes, element by element, in place; on the training device."""
        if self.world > 1:
            dist.all_reduce(tensor, dist.ReduceOp.MIN)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether it holds in any process."""
        if self.world == 1:
            return flag
        count = torch.tensor([int(flag)], device=self.device)
        return bool(self.sum(count).item())

    def led(self, action: Callable[[], None]) -> None:
        """Let the leader do something before all go on.

        Raises:
            Exception: the leader's own, and in the others a ConfigError that says so.
        """
        failure: Exception | None = None
        if self.leads:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - the others must not wait for ever
                failure = error
        if self.any(failure is not None):
            raise failure or ConfigError(
                "The first of the processes could not go on.",
                "",
                "It says why; see above or below.",
            )

    def as_the_leader(self, model: nn.Module) -> None:
        """Give the model the statistics of the leader: each process has those of its own frames."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def spread(self, model: nn.Module, whole: bool) -> nn.Module:
        """The model with gradients that are the mean over all processes.

        Args:
            model: the same in every process.
            whole: whether every step has a gradient for every weight.
        """
        if self.world == 1:
            return model
        # Statistics are the leader's after every epoch; see `as_the_leader`.
        return DistributedDataParallel(
            model, find_unused_parameters=not whole, broadcast_buffers=False
        )

    def sharing(self, network: nn.Module, last: bool) -> AbstractContextManager[object]:
        """The context of a part of a step: processes share what they learned with its last one.

        Args:
            network: from `spread`, or that compiled.
            last: whether the part is the last of this process's share; each has one.
        """
        if last or self.world == 1:
            return nullcontext()
        alone: AbstractContextManager[object] = cast(Any, network).no_sync()
        return alone


ALONE = Ranks()


def leads() -> bool:
    """Whether this process speaks for all that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def group_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def restarted() -> bool:
    """Whether torchrun started this process again, after one of the group had died."""
    return _restarts() > 0


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Among the processes that torchrun started, or alone without it; `device` is this one's."""
    world = group_size()
    if world == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, _ = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
    # torchrun keeps its store when it starts a group again: what the dead ones wrote into it would
    # send half of the restarted groups to addresses where nobody answers.
    store = dist.PrefixStore(f"attempt {_restarts()}", store)  # type: ignore[attr-defined]
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        yield Ranks(rank, world, int(os.environ.get("LOCAL_RANK", rank)), device)
    finally:
        dist.destroy_process_group()
