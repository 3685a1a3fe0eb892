"""OpenCV, which the edge install leaves out."""

from __future__ import annotations

import importlib
from typing import Any

from sel_edge.core.errors import MissingDependencyError


def _opencv() -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingDependencyError(
            "Videos need OpenCV, which is not installed.",
            "The edge install leaves it out on purpose.",
            "Install it with: pip install 'sel-edge[serve]'.",
        ) from error


cv2 = _opencv()
"""Without its types, which are too vague to say what a function returns."""
