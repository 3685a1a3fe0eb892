"""Frames and values for tests of the sample store."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.samples import SampleStore, TeachingValue

SHAPE = (4, 4, 3)
FEATURES = 16


def images(first: int, n: int) -> NDArray[np.uint8]:
    """n frames, each another for each number."""
    return np.stack(
        [
            np.random.default_rng(number).integers(0, 256, SHAPE, dtype=np.uint8)
            for number in range(first, first + n)
        ]
    )


def features(first: int, n: int) -> NDArray[np.float32]:
    """n vectors far from each other."""
    rows = [
        np.random.default_rng(number + 10_000).normal(size=FEATURES)
        for number in range(first, first + n)
    ]
    return np.stack(rows).astype(np.float32)


def value(score: float) -> TeachingValue:
    return TeachingValue(score, score, 0.0, 0.0, "torn")


def see(
    store: SampleStore, first: int, n: int, score: Callable[[int], float] = lambda _: 0.5
) -> None:
    """Let a store observe n frames, predicted as cat and dog in turn."""
    store.observe(
        first,
        images(first, n),
        ["dog" if number % 2 else "cat" for number in range(first, first + n)],
        [value(score(number)) for number in range(first, first + n)],
        features(first, n),
    )


def killed_after(target: Callable[..., None], path: Path, seconds: float) -> list[Any]:
    """Start a process that sends what it has finished, kill it, and return what it sent."""
    context = multiprocessing.get_context("spawn")  # SQLite must not be forked
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(path, sender))
    process.start()
    sender.close()
    sent = [receiver.recv()]  # it is under way
    time.sleep(seconds)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    try:
        while True:
            sent.append(receiver.recv())
    except EOFError:
        return sent


def moments(count: int, longest: float) -> list[float]:
    """Random instants, the same in every run."""
    rng = random.Random(0)  # noqa: S311
    return [rng.random() * longest for _ in range(count)]
