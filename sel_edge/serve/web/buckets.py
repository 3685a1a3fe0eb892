"""How often a client may do something."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

CLIENTS = 1024
"""Clients that are remembered; the one unheard of for longest is forgotten."""


class Buckets:
    """A bucket of tokens for each client, which fills steadily.

    Args:
        per_s: tokens that come back in a second.
        size: tokens in a full bucket.
        clock: seconds, rising.
    """

    def __init__(
        self, per_s: float, size: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s, self._size, self._clock = per_s, size, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Seconds until the client has a token; 0 if it has one."""
        return max(0.0, (1.0 - self._level(client)) / self._per_s)

    def take(self, client: str) -> float:
        """Take a token; seconds until there is one if there is none, else 0."""
        wait = self.wait_s(client)
        if not wait:
            self._levels[client] = (self._level(client) - 1.0, self._clock())
            self._levels.move_to_end(client)
            if len(self._levels) > CLIENTS:
                self._levels.popitem(last=False)
        return wait

    def _level(self, client: str) -> float:
        level, since = self._levels.get(client, (self._size, self._clock()))
        return min(self._size, level + (self._clock() - since) * self._per_s)


def client_of(address: str) -> str:
    """The client behind an address: one line has all of an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
