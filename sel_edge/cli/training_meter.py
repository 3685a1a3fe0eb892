"""The energy meter that fits where training runs."""

from __future__ import annotations

from sel_edge.core.measurement import Meter
from sel_edge.energy.meter import open_meter
from sel_edge.energy.nvml import open_gpu_meter
from sel_edge.pretrain.precision import choose_device, gpu_uuid


def own_meter(device: str) -> Meter:
    """The counter of this process's GPU if it has one, else the processor's meter.

    Args:
        device: as `sel_edge.pretrain.precision.choose_device` takes it.
    """
    chosen = choose_device(device)
    gpu = open_gpu_meter(gpu_uuid(chosen)) if chosen.type == "cuda" else None
    return gpu or open_meter()
