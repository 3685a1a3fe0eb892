"""The key of a host: one small file, from which `sel_edge.mcu.keys` makes the key of each board."""

from __future__ import annotations

import secrets
from pathlib import Path

from sel_edge.core.errors import ConfigError
from sel_edge.core.key_files import read_private_key, write_private_key
from sel_edge.mcu.keys import KEY_BYTES


def open_host_key(path: Path) -> bytes:
    """The key in a file, 32 bytes; it is made at first use.

    Raises:
        ConfigError: others can read the file, or it is no key.
        StorageError: it cannot be read or written.
    """
    if not path.exists():
        write_private_key(path, secrets.token_bytes(KEY_BYTES))
    key = read_private_key(path)
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"The host key {path} has {len(key)} bytes.",
            f"Exactly {KEY_BYTES} are expected.",
            "Restore it from a copy; a board takes nothing under another key than its own.",
        )
    return key
