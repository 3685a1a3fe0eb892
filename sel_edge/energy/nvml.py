"""Joules of an NVIDIA GPU, from the driver's own counter."""

from __future__ import annotations

from sel_edge.core.measurement import Meter, Origin
from sel_edge.energy.system import lost


class NvmlMeter:
    """Joules of one GPU, whatever runs on it; processor and memory of the host are not in it.

    Source: nvmlDeviceGetTotalEnergyConsumption, millijoules since the driver was loaded.

    Args:
        uuid: "GPU-..." as the driver names it.
    """

    origin: Origin = "measured"

    def __init__(self, uuid: str) -> None:
        import pynvml

        pynvml.nvmlInit()
        self._nvml = pynvml
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        self._start_mj = self._last_mj = self._read_mj()
        self.name = f"nvml:{uuid} (GPU only)"

    def read_j(self) -> float:
        """Joules since the meter was opened.

        Raises:
            MissingDependencyError: the counter can no longer be read, or the driver was loaded
                again, which starts it at 0.
        """
        try:
            now_mj = self._read_mj()
        except self._nvml.NVMLError as error:
            raise lost(self.name, error) from error
        if now_mj < self._last_mj:
            raise lost(self.name, ValueError(f"it fell from {self._last_mj} to {now_mj} mJ"))
        self._last_mj = now_mj
        return (now_mj - self._start_mj) / 1e3

    def _read_mj(self) -> int:
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))


def open_gpu_meter(uuid: str) -> Meter | None:
    """The meter of the GPU with this UUID, or None where its energy cannot be read.

    Pascal and older GPUs have no counter, and a machine without the driver or without the package
    nvidia-ml-py has no way to ask.
    """
    try:
        import pynvml
    except ImportError:
        return None
    try:
        return NvmlMeter(uuid)
    except pynvml.NVMLError:
        return None
