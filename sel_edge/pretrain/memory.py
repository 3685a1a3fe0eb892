"""What to do when a network does not fit into memory: a batch size that was tried and fits."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from sel_edge.core.errors import ConfigError


@contextmanager
def memory_errors(
    batch_size: int, trial: Callable[[int], object], processes: int = 1
) -> Iterator[None]:
    """Turn exhausted memory into advice.

    Args:
        batch_size: frames of a process in a step of the run.
        trial: takes a step of so many frames, with a network of its own.
        processes: that take each step together.

    Raises:
        ConfigError: memory ran out; names a batch size that fits, if any does.
    """
    try:
        yield
        return
    except RuntimeError as error:
        if not _is_exhausted(error):
            raise
        said = str(error).splitlines()[0]
        # The frames of the failed step hold its activations, which are in the way of a trial.
        traceback.clear_frames(error.__traceback__)
    fitting = _fitting(batch_size, trial)
    if fitting is None:
        advice = "Use a smaller --width, smaller images (?size=32) or shorter signals."
    else:
        advice = (
            f"A step of {fitting} was tried here just now and fits: start a new run with "
            f"--set batch_size={fitting * processes}, and a learning_rate (with muon, a conv_rate "
            "too) that is smaller by as much."
        )
    raise ConfigError(
        f"Memory ran out in training with steps of {batch_size} frames: {said}",
        "The network with its frames and gradients must fit into memory.",
        advice,
    )


def _is_exhausted(error: RuntimeError) -> bool:
    """Whether it says so: CUDA, torch's allocator, or oneDNN, which cannot make something then."""
    said = ("DefaultCPUAllocator", "could not create a", "could not execute a")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in said)


def _fitting(batch_size: int, trial: Callable[[int], object]) -> int | None:
    """The first of the halves of a batch size, down to 2, that a trial survives."""
    while batch_size >= 4:
        batch_size //= 2
        torch.cuda.empty_cache()
        try:
            trial(batch_size)
        except RuntimeError as error:
            if not _is_exhausted(error):
                raise
        else:
            return batch_size
    return None
