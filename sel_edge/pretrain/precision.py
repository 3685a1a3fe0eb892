"""The device and the arithmetic: number format and layout that a short measurement finds fastest.

Nothing else can tell: channels-last bf16 training is reported to be 20 times slower than plain bf16
on one CPU, and was a fifth faster on others (docs/records/training-step.json).
"""

from __future__ import annotations

import copy
import os
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sel_edge.core.errors import ConfigError

# "fp32" means fp32 on a GPU too, so that a run log says what was computed.
torch.backends.cudnn.allow_tf32 = False

Precision = Literal["fp32", "bf16"]
Layout = Literal["contiguous", "channels-last"]

# What differs from fp32 and contiguous must win by this much: below it noise decides.
BF16_MIN_SPEEDUP = 1.1
CHANNELS_LAST_MIN_SPEEDUP = 1.05

CHANNELS_LAST_MIN_CHANNELS = 16
"""On processors: below, the backward pass of a strided 1x1 convolution in channels-last writes
where it should not, and the process dies (oneDNN in torch 2.14, 8 channels, images of 64x64)."""

GLIMPSE, HOPELESS = 4, 4.0
"""What is so many times as slow as the fastest with so few frames is not timed with a whole batch:
on processors that only emulate bf16 each of its steps would take many seconds."""

WARM_UP_ROUNDS, TIMED_ROUNDS = 3, 8


@dataclass(frozen=True)
class Arithmetic:
    """Where, in which number format and in which layout a network runs.

    Attributes:
        compiled: whether torch compiles it first.
    """

    device: torch.device
    precision: Precision
    layout: Layout = "contiguous"
    compiled: bool = False

    def placed(self, images: Tensor) -> Tensor:
        """The same images [n, C, H, W] in the layout; anything else as it is."""
        if self.layout == "contiguous" or images.ndim != 4:
            # With one channel both layouts are contiguous, and the strides may still say the other.
            return images.contiguous().view(-1).view(images.shape)
        return images.contiguous(memory_format=torch.channels_last)

    def prepared(self, model: nn.Module) -> nn.Module:
        """The model itself, its weights on the device and in the layout."""
        model.to(self.device)
        if self.layout == "channels-last":
            model.to(memory_format=torch.channels_last)
        return model

    def autocast(self) -> AbstractContextManager[object]:
        """The context for forward passes; weights stay fp32 in both precisions."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        )


def choose_device(requested: str) -> torch.device:
    """ "auto" is a CUDA GPU where there is one, else the CPU.

    Under torchrun every process of a machine has a GPU of its own, whichever was requested.

    Raises:
        ConfigError: the requested device does not exist here, or too few for the processes.
    """
    if requested == "auto":
        return _own(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        device = _own(torch.device(requested))
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"{device.type} is not supported")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device {requested!r} cannot be used: {str(error).splitlines()[0]}.",
            "auto, cpu, cuda or cuda:N is expected.",
            "Leave --device out to use what this machine has. A run goes on where there is a "
            "device like the one that it was begun on.",
        ) from error
    return device


def _own(device: torch.device) -> torch.device:
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= count:
        raise ConfigError(
            f"torchrun started process {number + 1} of this machine, which has {count} GPUs.",
            "Every process needs a GPU of its own.",
            f"Use --nproc-per-node {count}, or --device cpu.",
        )
    return torch.device("cuda", number)


def gpu_uuid(device: torch.device) -> str:
    """The name under which the driver knows a CUDA device; indices differ between the two."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def choose_arithmetic(
    model: nn.Module,
    input_shape: tuple[int, ...],
    batch_size: int,
    device: torch.device,
) -> tuple[Arithmetic, dict[str, float]]:
    """Time training steps in turn on copies of the model.

    Args:
        model: left as it is.
        input_shape: channels, height, width of an image; channels, length of a signal.
        batch_size: of the steps.
        device: where they run.

    Returns:
        The arithmetic to use and the medians that it was chosen by, such as
        `bf16_channels-last_ms`; none of what is hopeless.
    """
    tried = _promising(model, input_shape, device)
    steps = [bare_step(model, input_shape, batch_size, arithmetic) for arithmetic in tried]
    times: list[list[float]] = [[] for _ in tried]
    for _ in range(TIMED_ROUNDS):
        for step, measured in zip(steps, times, strict=True):
            measured.append(_seconds(step))
    medians = [1e3 * statistics.median(values[WARM_UP_ROUNDS:]) for values in times]

    def handicapped(index: int) -> float:
        bf16 = BF16_MIN_SPEEDUP if tried[index].precision == "bf16" else 1.0
        last = CHANNELS_LAST_MIN_SPEEDUP if tried[index].layout == "channels-last" else 1.0
        return medians[index] * bf16 * last

    best = tried[min(range(len(tried)), key=handicapped)]
    names = [f"{one.precision}_{one.layout}_ms" for one in tried]
    return best, dict(zip(names, medians, strict=True))


def _promising(
    model: nn.Module, input_shape: tuple[int, ...], device: torch.device
) -> list[Arithmetic]:
    """Those of `possible` that a glimpse does not rule out."""
    tried = possible(model, input_shape, device)
    steps = [bare_step(model, input_shape, GLIMPSE, arithmetic) for arithmetic in tried]
    # The first pass of all pays for what the device and its libraries set up.
    glimpses = [min(_seconds(step) for _ in range(2)) for step in steps]
    return [one for one, s in zip(tried, glimpses, strict=True) if s < HOPELESS * min(glimpses)]


def _seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def can_compile(device: torch.device) -> bool:
    """Whether torch can compile for this device, found out with a layer.

    On processors a compiled network was no faster, and took half a minute to compile.
    """
    if device.type != "cuda":
        return False
    try:
        layer = torch.compile(nn.Conv2d(1, 1, 1).to(device))
        layer(torch.zeros(1, 1, 4, 4, device=device)).sum().backward()
    except Exception:  # noqa: BLE001 - no compiler, no headers, an old GPU: each fails its own way
        return False
    return True


def possible(
    model: nn.Module, input_shape: tuple[int, ...], device: torch.device
) -> list[Arithmetic]:
    """Every number format in every layout that this network and frames of this shape can have."""
    layouts: tuple[Layout, ...] = ("contiguous",)
    narrow = min((len(w) for w in model.parameters() if w.ndim == 4), default=0)
    if len(input_shape) == 3 and (device.type == "cuda" or narrow >= CHANNELS_LAST_MIN_CHANNELS):
        layouts = get_args(Layout)
    return [
        Arithmetic(device, number, layout) for number in get_args(Precision) for layout in layouts
    ]


def bare_step(
    model: nn.Module, input_shape: tuple[int, ...], batch_size: int, arithmetic: Arithmetic
) -> Callable[[], None]:
    """A forward and backward pass on a copy of the model, and nothing else."""
    trial = arithmetic.prepared(copy.deepcopy(model).train())
    if arithmetic.compiled:
        trial = cast(nn.Module, torch.compile(trial, dynamic=False))
    x = arithmetic.placed(torch.randn(batch_size, *input_shape, device=arithmetic.device))
    y = torch.zeros(batch_size, dtype=torch.long, device=arithmetic.device)

    def step() -> None:
        with arithmetic.autocast():
            logits = trial(x)
        cross_entropy(logits.float(), y).backward()  # type: ignore[no-untyped-call]
        trial.zero_grad(set_to_none=True)
        if arithmetic.device.type == "cuda":
            torch.cuda.synchronize(arithmetic.device)

    return step
