"""Boards to compute with."""

from __future__ import annotations

from sel_edge.energy.profile import DeviceProfile, Flash

FLASH = Flash(2**22, 4096, 256, 0.07, 0.0008, 100_000)
BOARD = DeviceProfile(
    name="board",
    cores=4,
    clock_hz=10**9,
    ram_bytes=2**30,
    idle_w=1.0,
    load_w=3.0,
    flops_per_s=1e10,
    bytes_per_s=1e9,
    j_per_flop=2e-10,
    j_per_byte=2e-9,
    celsius_max=80.0,
)
