"""How a benchmark hands over what it found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sel_edge.core.files import write_atomic


def publish(found: Mapping[str, Any], out: Path | None) -> None:
    """Print one JSON object as the last line, and write it, indented, to a file if one is named."""
    if out:
        write_atomic(out, json.dumps(found, indent=1).encode() + b"\n")
    print(json.dumps(found))
