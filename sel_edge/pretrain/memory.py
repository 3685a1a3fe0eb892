"""What to do when a network does not fit into memory: a size that was tried and fits."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from sel_edge.core.errors import ConfigError
from sel_edge.pretrain.precision import Arithmetic, bare_step

Trial = Callable[[int, int], object]
"""Passes so many frames at a time through a network of its own, there and back, while so many of a
step lie in memory."""

EXHAUSTED = (
    *("DefaultCPUAllocator", "could not create a", "could not execute a"),
    *("CUDA error: out of memory", "ALLOC_FAILED"),
)


@contextmanager
def memory_errors(
    batch_size: int, trial: Trial, processes: int = 1, part_size: int = 0
) -> Iterator[None]:
    """Turn exhausted memory into advice.

    Args:
        batch_size: frames of a process in a step of the run, at most.
        trial: what to try.
        processes: that take each step together.
        part_size: of the recipe: how many frames at least pass at a time; 0: all of a step.

    Raises:
        ConfigError: memory ran out; names a batch size or part size that fits, if any does.
    """
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not _is_exhausted(error):
            raise
        said = (str(error) or "no more is to be had").splitlines()[0]
        # The frames of the failed step hold its activations, which are in the way of a trial.
        traceback.clear_frames(error.__traceback__)
    if part_size:
        # What ends an epoch has fewer frames, and may pass in one part of almost twice the size.
        passed = {size: min(batch_size, 2 * size - 1) for size in _halves(part_size)}
    else:
        passed = {size: size for size in _halves(batch_size)}
    held = batch_size if part_size else 0
    fitting = next((size for size, frames in passed.items() if _fits(frames, held, trial)), None)
    if fitting is None:
        advice = "Use a smaller --width, smaller images (?size=32) or shorter signals."
    elif part_size:
        advice = (
            f"A pass of {passed[fitting]} was tried here just now and fits: start a new run with "
            f"--set part_size={fitting}."
        )
    else:
        advice = (
            f"A step of {fitting} was tried here just now and fits: start a new run with "
            f"--set batch_size={fitting * processes}, and a learning_rate (with muon, a conv_rate "
            "too) that is smaller by as much."
        )
    parts = f" in parts of at least {part_size}" if part_size else ""
    raise ConfigError(
        f"Memory ran out in training with steps of {batch_size} frames{parts}: {said}",
        "The network with its frames and gradients must fit into memory.",
        advice,
    )


def trial_pass(
    build: Callable[[], nn.Module], input_shape: tuple[int, ...], arithmetic: Arithmetic
) -> Trial:
    """A trial for `memory_errors`.

    Args:
        build: makes a network like the run's.
        input_shape: of a frame: channels, height, width, or channels, length.
        arithmetic: of the run; nothing is compiled for a trial.
    """

    def trial(frames: int, held: int) -> None:
        others = torch.empty(held, *input_shape, device=arithmetic.device)
        bare_step(build(), input_shape, frames, replace(arithmetic, compiled=False))()
        del others

    return trial


def _is_exhausted(error: RuntimeError | MemoryError) -> bool:
    """Whether it says so: Python, CUDA and its libraries, torch's allocator, or oneDNN, which
    cannot make something then."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in EXHAUSTED)


def _halves(size: int) -> Iterator[int]:
    """Half of it, half of that, and so on, down to 2."""
    while size >= 4:
        size //= 2
        yield size


def _fits(frames: int, held: int, trial: Trial) -> bool:
    """Whether a trial survives so many frames."""
    torch.cuda.empty_cache()
    try:
        trial(frames, held)
    except (RuntimeError, MemoryError) as error:
        if not _is_exhausted(error):
            raise
        return False
    return True
