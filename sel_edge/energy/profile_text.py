"""A profile as the text of its TOML file, every value with its source behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

from sel_edge.energy.calibrate import Calibration
from sel_edge.energy.profile import DeviceProfile, Flash


def profile_text(profile: DeviceProfile, sources: Mapping[str, str], heading: str) -> str:
    """The TOML text that `load_profile` reads back as `profile`.

    Args:
        profile: the values; its texts hold printable characters only.
        sources: key -> the comment behind its value.
        heading: the comment on top, one line.
    """
    lines = [f"# {heading}", ""]
    lines += _lines(profile, sources, "")
    if profile.flash is not None:
        lines += ["", "[flash]", *_lines(profile.flash, sources, "flash.")]
    return "\n".join(lines) + "\n"


def calibrated_sources(calibration: Calibration, sources: Mapping[str, str]) -> dict[str, str]:
    """The sources of the profile that was calibrated, replaced where a value was measured."""
    profile, error = calibration.profile, calibration.fit.error
    by = f"measured: by {profile.measured_by}"
    return {
        **sources,
        "idle_w": f"{by}, +- {error.idle_w:.2g}",
        "load_w": f"{by}, the heaviest load",
        "flops_per_s": "measured: float32 matrix products, all the time",
        "bytes_per_s": "measured: memory copies in one thread, all the time",
        "j_per_flop": f"{by}, +- {error.j_per_flop:.2g}",
        "j_per_byte": f"{by}, +- {error.j_per_byte:.2g}",
        "measured_by": f"measured: {len(calibration.loads)} loads, "
        f"{calibration.fit.residual_w:.2g} W unexplained",
    }


def _lines(part: DeviceProfile | Flash, sources: Mapping[str, str], prefix: str) -> list[str]:
    lines = []
    for field in fields(part):
        value = getattr(part, field.name)
        if value is None or isinstance(value, Flash) or value == "":
            continue
        written = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
        source = sources.get(prefix + field.name)
        lines.append(f"{field.name} = {written}" + (f"  # {source}" if source else ""))
    return lines
