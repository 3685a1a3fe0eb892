"""Settings of a gateway that learns from whatever its boards see."""

from __future__ import annotations

from pathlib import Path

from sel_edge.bundle.bundle import Bundle
from sel_edge.cli.gateway import Settings
from sel_edge.cli.machine import named_board
from sel_edge.core.budget import Budget
from sel_edge.runtime.config import RuntimeConfig


def settings_for(bundle: Bundle, folder: Path, timeout_s: float) -> Settings:
    """Without limits; every frame of a board becomes a sample."""
    return Settings(
        bundle=bundle,
        image=bundle.mcu_image(),
        state=folder / "state",
        key_file=folder / "host.key",
        baud=115_200,
        timeout_s=timeout_s,
        budget=Budget(),
        machine=named_board("generic-x86"),
        config=RuntimeConfig(lenses=False),
        threads=1,
        least_embarrassment=0,
        per_minute=65535,
    )
