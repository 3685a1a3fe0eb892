"""The device and the arithmetic: fp32 or bf16, whichever a short measurement finds faster.

Layout stays contiguous everywhere: channels-last bf16 training is reported to be 20 times slower
than plain bf16 on one CPU, and was a fifth faster on another (docs/records/training-step.json).
"""

from __future__ import annotations

import copy
import statistics
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sel_edge.core.errors import ConfigError

# "fp32" means fp32 on a GPU too, so that a run log says what was computed.
torch.backends.cudnn.allow_tf32 = False

Precision = Literal["fp32", "bf16"]

# bf16 must win by this much: below it noise decides, and fp32 is the safer arithmetic.
BF16_MIN_SPEEDUP = 1.1


@dataclass(frozen=True)
class Arithmetic:
    """Where and in which number format a network runs."""

    device: torch.device
    precision: Precision

    def autocast(self) -> AbstractContextManager[object]:
        """The context for forward passes; weights stay fp32 in both precisions."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        )


def choose_device(requested: str) -> torch.device:
    """ "auto" is a CUDA GPU where there is one, else the CPU.

    Raises:
        ConfigError: the requested device does not exist here.
    """
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(requested)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"{device.type} is not supported")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device {requested!r} cannot be used: {str(error).splitlines()[0]}.",
            "auto, cpu, cuda or cuda:N is expected.",
            "Leave --device out to use what this machine has.",
        ) from error
    return device


def gpu_uuid(device: torch.device) -> str:
    """The name under which the driver knows a CUDA device; indices differ between the two."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def choose_precision(
    model: nn.Module, input_shape: tuple[int, ...], batch_size: int, device: torch.device
) -> tuple[Precision, dict[str, float]]:
    """Time training steps in both precisions, in turn, on a copy of the model.

    Returns:
        The precision to use and the medians it was chosen by, `fp32_ms` and `bf16_ms`.
    """
    x = torch.randn(batch_size, *input_shape, device=device)
    y = torch.zeros(batch_size, dtype=torch.long, device=device)
    times: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    trial = copy.deepcopy(model).train()
    for _ in range(8):
        for precision, measured in times.items():
            start = time.perf_counter()
            with Arithmetic(device, precision).autocast():
                loss = cross_entropy(trial(x).float(), y)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            loss.item()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            measured.append(time.perf_counter() - start)
    fp32, bf16 = (1e3 * statistics.median(times[p][3:]) for p in ("fp32", "bf16"))
    chosen: Precision = "bf16" if fp32 / bf16 >= BF16_MIN_SPEEDUP else "fp32"
    return chosen, {"fp32_ms": fp32, "bf16_ms": bf16}
