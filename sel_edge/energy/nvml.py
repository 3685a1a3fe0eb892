"""Joules of an NVIDIA GPU, from the driver's own counter."""

from __future__ import annotations

from sel_edge.core.measurement import Meter, Origin


class NvmlMeter:
    """Joules of one GPU, whatever runs on it; processor and memory of the host are not in it.

    Source: nvmlDeviceGetTotalEnergyConsumption, millijoules since the driver was loaded.
    """

    origin: Origin = "measured"

    def __init__(self, index: int) -> None:
        import pynvml

        pynvml.nvmlInit()
        self._nvml = pynvml
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        self._start_mj = self._read_mj()
        self.name = f"nvml:{index} (GPU only)"

    def read_j(self) -> float:
        """Joules since the meter was opened."""
        return (self._read_mj() - self._start_mj) / 1e3

    def _read_mj(self) -> int:
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))


def open_gpu_meter(index: int) -> Meter | None:
    """The meter of GPU `index`, or None where its energy cannot be read.

    Pascal and older GPUs have no counter, and a machine without the driver or without the package
    nvidia-ml-py has no way to ask.
    """
    try:
        return NvmlMeter(index)
    except ImportError:
        return None
    except Exception as error:
        # nvidia-ml-py's errors exist only once it is installed, so they are told by their module.
        if type(error).__module__ != "pynvml":
            raise
        return None
