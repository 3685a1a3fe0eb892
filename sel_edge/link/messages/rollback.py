"""Rollback: back to a network that was in use before."""

from __future__ import annotations

from dataclasses import dataclass

from sel_edge.link.messages.codec import MAC_BYTES, fixed
from sel_edge.link.messages.delta import MANIFEST_BYTES, Committed
from sel_edge.link.messages.envelope import Request


@dataclass(frozen=True)
class RollbackRequest(Request[Committed]):
    """Goes back as the manifest says."""

    operation = 0x23
    answer = Committed

    manifest: bytes = fixed(MANIFEST_BYTES)
    mac: bytes = fixed(MAC_BYTES)
