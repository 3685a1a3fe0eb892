"""Everything a run needs to go on bit for bit, in one safetensors file.

Tensors: ``model.*``, the optimizer's state as ``optimizer.PARAMETER.PART`` (``exp_avg``,
``exp_avg_sq`` and ``step``, or ``momentum_buffer``), ``curriculum.scores``, ``.losses``
and, of a recipe that recalls them, ``.answers``.
Position, sums, costs and history are JSON in the header. No pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.files import write_atomic

CHECKPOINT_FILE = "checkpoint.safetensors"
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name and the plain state that goes with them."""

    tensors: Mapping[str, Tensor]
    state: dict[str, Any]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and JSON state atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, save(plain, metadata={"state": json.dumps(state)}))


def read_tensors(path: Path) -> Checkpoint:
    """Read what `write_tensors` wrote.

    Raises:
        RunDirectoryError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            # Copies: a mapped tensor would keep the replaced file, and its place on the disk.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RunDirectoryError(
            f"{path} cannot be read: {error}.",
            "A file that `sel-edge pretrain` wrote is expected.",
            "Start the run again in a new directory.",
        ) from error
    return Checkpoint(tensors, state)


def pack(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Model and optimizer as flat named tensors."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for part, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{name}.{part}"] = value
    return tensors


def unpack(
    tensors: Mapping[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Put back what `pack` took."""
    model.load_state_dict(
        {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    )
    for name, parameter in model.named_parameters():
        prefix = f"optimizer.{name}."
        parts = {key: value for key, value in tensors.items() if key.startswith(prefix)}
        if parts:
            optimizer.state[parameter] = {
                key.removeprefix(prefix): _like(parameter, value) for key, value in parts.items()
            }


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """The value on the parameter's device and in its layout: fused optimizers walk both alike."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
