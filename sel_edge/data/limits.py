"""How much a file may ask of this machine before it is refused as a decompression bomb."""

from __future__ import annotations

import os
from pathlib import Path

from sel_edge.core.errors import DataError

MAX_MEMBER_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 2**20
MAX_MEMBERS = 4_000_000
MAX_IMAGE_PIXELS = 50_000_000


def decoded_bytes_limit() -> int:
    """Bytes that the decoded images of one source may take: half of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def check_decoded_bytes(source: Path | str, n_bytes: int, remedy: str) -> None:
    """Raise a DataError, ending in `remedy`, if `n_bytes` of decoded data are too many."""
    limit = decoded_bytes_limit()
    if n_bytes > limit:
        raise DataError(
            f"{source} needs at least {n_bytes / 2**20:,.0f} MiB once it is decoded.",
            f"At most {limit / 2**20:,.0f} MiB, half of this machine's memory, are used for it.",
            remedy,
        )
