"""Settings outside their ranges are errors that name the rule."""

from __future__ import annotations

from typing import Any

import pytest

from sel_edge.core.errors import ConfigError
from sel_edge.runtime.adapter import AdapterSettings
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.guard import Tolerance


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"off": 20.0}, "off < on"),
        ({"off": -1.0}, "off < on"),
        ({"slack": -0.1}, "slack"),
        ({"cool_down_frames": -1}, "cool_down_frames"),
        ({"new_class_labels": 0}, "counts"),
        ({"memory_samples": 0}, "counts"),
        ({"adapter": AdapterSettings(steps=0)}, "counts"),
        ({"fold_block_frames": 0}, "counts"),
        ({"remembered_frames": 0}, "counts"),
        ({"remembered_bytes": 0}, "counts"),
        ({"unknown_classes": 0}, "counts"),
        ({"window_age_frames": 0}, "counts"),
        ({"adapter": AdapterSettings(momentum=1.0)}, "momentum"),
        ({"adapter": AdapterSettings(hold=-1.0)}, "hold"),
        ({"adapter": AdapterSettings(pull=-1.0)}, "pull"),
        ({"tolerance": Tolerance(accuracy=-1.0)}, "tolerances"),
        ({"tolerance": Tolerance(embarrassment=-1.0)}, "tolerances"),
    ],
)
def test_an_impossible_setting_names_its_rule(setting: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        RuntimeConfig(**setting)
