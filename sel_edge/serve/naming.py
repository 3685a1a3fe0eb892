"""What a device may be called."""

from __future__ import annotations

from sel_edge.core.errors import ConfigError

MAX_NAME = 64
"""Characters."""


def require_name(name: str) -> str:
    """The name of a device, for people and, made plain, in topics.

    Raises:
        ConfigError: it is empty, long, or cannot be printed.
    """
    if not name.isprintable() or not 0 < len(name.strip()) <= MAX_NAME:
        raise ConfigError(
            f"{name!r} cannot be the name of a device.",
            f"1 to {MAX_NAME} printable characters are expected.",
            "Choose another --name.",
        )
    return name
