"""The GPU's counter, on a stand-in for the driver's library: test machines have no GPU."""

import sys
import types

import pytest

from sel_edge.energy.nvml import open_gpu_meter


def library(counter_mj: list[int]) -> types.ModuleType:
    """pynvml with one GPU whose counter stands at counter_mj[0]."""
    module = types.ModuleType("pynvml")

    class NVMLError(Exception):
        __module__ = "pynvml"

    def handle(index: int) -> int:
        if index != 0:
            raise NVMLError("Invalid Argument")
        return index

    module.nvmlInit = lambda: None
    module.nvmlDeviceGetHandleByIndex = handle
    module.nvmlDeviceGetTotalEnergyConsumption = lambda _: counter_mj[0]
    return module


def test_joules_are_measured_from_where_the_meter_was_opened(monkeypatch):
    counter = [5_000]
    monkeypatch.setitem(sys.modules, "pynvml", library(counter))
    meter = open_gpu_meter(0)
    assert meter is not None
    assert (meter.origin, meter.name, meter.read_j()) == ("measured", "nvml:0 (GPU only)", 0.0)
    counter[0] += 2_500
    assert meter.read_j() == 2.5


def test_without_library_or_counter_there_is_no_meter(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library([0]))
    assert open_gpu_meter(7) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpu_meter(0) is None


def test_other_errors_are_not_swallowed(monkeypatch):
    broken = library([0])
    broken.nvmlInit = lambda: 1 // 0
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    with pytest.raises(ZeroDivisionError):
        open_gpu_meter(0)


def test_the_real_library_without_a_gpu_gives_no_meter():
    pytest.importorskip("pynvml")
    meter = open_gpu_meter(0)
    assert meter is None or meter.origin == "measured"
