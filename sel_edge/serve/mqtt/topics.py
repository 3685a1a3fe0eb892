"""Names on a broker: made of names of classes and devices, which can be anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sel_edge.core.files import sha256_bytes

DISCOVERY_PREFIX = "homeassistant"
BIRTH_TOPIC = f"{DISCOVERY_PREFIX}/status"
"""Where Home Assistant says that it has started."""
BIRTH = b"online"
PRESS = b"PRESS"
"""What a button of Home Assistant sends."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,48}")
_HASHED = re.compile(r".*_[0-9a-f]{8}")
_OTHERS = re.compile(r"[^a-z0-9]+")


def identifier(name: str) -> str:
    """An identifier of at most 48 letters, digits, _ and -, another one for every other name.

    A name that is one stays as it is; of any other it is what can be kept of it, and a hash.
    """
    if _PLAIN.fullmatch(name) and not _HASHED.fullmatch(name):
        return name
    kept = _OTHERS.sub("_", name.lower())[:36].strip("_")
    return f"{kept}_{sha256_bytes(name.encode(errors='surrogatepass'))[:8]}"


@dataclass(frozen=True)
class Topics:
    """The topics of one device.

    Attributes:
        prefix: first levels of its own topics.
        node: its identifier.
    """

    prefix: str
    node: str

    @property
    def unique(self) -> str:
        """Its name among everything that Home Assistant knows."""
        return f"sel-edge_{self.node}"

    @property
    def discovery(self) -> str:
        """Where it describes itself."""
        return f"{DISCOVERY_PREFIX}/device/{self.unique}/config"

    @property
    def availability(self) -> str:
        """`online` or `offline`."""
        return self._own("availability")

    @property
    def status(self) -> str:
        """What it does, and how many frames wait for a label."""
        return self._own("status")

    @property
    def embarrassment(self) -> str:
        """Class -> nats, and what they rest on."""
        return self._own("embarrassment")

    @property
    def wallet(self) -> str:
        """Resource -> what is left of it."""
        return self._own("wallet")

    @property
    def temperature(self) -> str:
        """Of the processor."""
        return self._own("temperature")

    @property
    def trigger(self) -> str:
        """The last time that it wanted to learn, or labels."""
        return self._own("trigger")

    @property
    def adapt(self) -> str:
        """Where it is told to learn now."""
        return self._own("adapt")

    @property
    def adapted(self) -> str:
        """What came of that."""
        return self._own("adapted")

    def _own(self, last: str) -> str:
        return f"{self.prefix}/{self.node}/{last}"
