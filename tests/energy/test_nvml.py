"""The GPU's counter, on a stand-in for the driver's library: test machines have no GPU."""

import sys
import types

import pytest

from sel_edge.core.errors import MissingDependencyError
from sel_edge.energy.nvml import open_gpu_meter

GPU = "GPU-01234567-89ab-cdef-0123-456789abcdef"


def library(counter_mj: list[int]) -> types.ModuleType:
    """pynvml with one GPU whose counter stands at counter_mj[0]."""
    module = types.ModuleType("pynvml")

    class NVMLError(Exception):
        """As the real one."""

    def handle(uuid: str) -> int:
        if uuid != GPU:
            raise NVMLError("Not Found")
        return 0

    def energy_mj(_: int) -> int:
        if counter_mj[0] < 0:
            raise NVMLError("GPU is lost")
        return counter_mj[0]

    module.nvmlInit = lambda: None
    module.NVMLError = NVMLError
    module.nvmlDeviceGetHandleByUUID = handle
    module.nvmlDeviceGetTotalEnergyConsumption = energy_mj
    return module


def test_joules_are_measured_from_where_the_meter_was_opened(monkeypatch):
    counter = [5_000]
    monkeypatch.setitem(sys.modules, "pynvml", library(counter))
    meter = open_gpu_meter(GPU)
    assert meter is not None
    assert (meter.origin, meter.name, meter.read_j()) == ("measured", f"nvml:{GPU} (GPU only)", 0.0)
    counter[0] += 2_500
    assert meter.read_j() == 2.5
    counter[0] = -1
    with pytest.raises(MissingDependencyError, match="GPU is lost"):
        meter.read_j()


def test_a_driver_that_was_loaded_again_is_an_error_and_no_negative_energy(monkeypatch):
    counter = [5_000]
    monkeypatch.setitem(sys.modules, "pynvml", library(counter))
    meter = open_gpu_meter(GPU)
    assert meter is not None
    counter[0] = 10
    with pytest.raises(MissingDependencyError, match="fell from 5000 to 10"):
        meter.read_j()


def test_without_library_or_counter_there_is_no_meter(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library([0]))
    assert open_gpu_meter("GPU-other") is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpu_meter(GPU) is None


def test_other_errors_are_not_swallowed(monkeypatch):
    broken = library([0])
    broken.nvmlInit = lambda: 1 // 0
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    with pytest.raises(ZeroDivisionError):
        open_gpu_meter(GPU)


def test_the_real_library_without_a_gpu_gives_no_meter():
    pytest.importorskip("pynvml")
    assert open_gpu_meter(GPU) is None
