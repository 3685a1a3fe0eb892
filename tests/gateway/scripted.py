"""A runtime that does as it is told, and a gateway with it beside a real board."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.core.ledger import Tick
from sel_edge.core.measurement import Energy
from sel_edge.data.stream import FrameBatch
from sel_edge.gateway.courier import Courier
from sel_edge.gateway.gateway import Gateway, Sampling
from sel_edge.gateway.shelf import Shelf
from sel_edge.gateway.target import board_network
from sel_edge.link.client import Client
from sel_edge.mcu.keys import device_key
from sel_edge.mcu.reference import infer
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.tick_report import TickReport
from tests.gateway.worlds import HOST_KEY
from tests.link.boards import talking

ALL = Sampling(least_embarrassment=0, per_minute=65535)


class ScriptedRuntime:
    """Runs a network and finds frames in a domain, both as they are set; never learns.

    Attributes:
        network: in use.
        domain: that all frames are found to be of.
        seen: frames that it was shown, in order.
        is_wrong: whether it answers otherwise than the network in integers does.
    """

    has_answers = False

    def __init__(self, bundle: Bundle) -> None:
        self._image = bundle.mcu_image()
        self.network: Network = bundle_network(bundle)
        self.domain, self.is_wrong = OWN, False
        self.seen: list[bytes] = []

    def process(self, batch: FrameBatch) -> TickReport:
        self.seen += [frame.tobytes() for frame in batch.frames]
        n = len(batch.frames)
        tick = Tick(0, n, "", {}, {}, {}, 0, 0, 0, Energy(0.0, "estimated"), 0.0)
        return TickReport(
            ("",) * n, (0.0,) * n, (self.domain,) * n, (False,) * n, tick, (), (), 0.0
        )

    def answers(self, frames: NDArray[np.uint8], domain: int) -> list[str]:
        network = board_network(self._image, self.network, domain)
        labels = (infer(network, frames).labels + self.is_wrong) % len(network.classes)
        return [network.classes[label] for label in labels]


class Scene:
    """A gateway beside a board, with what is needed to look at it.

    Attributes:
        runtime: does as it is told.
        client: of the board.
        gateway: serves it.
    """

    def __init__(self, bundle: Bundle, client: Client, place: Path, sampling: Sampling) -> None:
        self.runtime, self.client = ScriptedRuntime(bundle), client
        key = device_key(HOST_KEY, client.hello().device_id)
        image = bundle.mcu_image()
        courier = Courier(client, key, image, Shelf(place, image))
        runtime = cast(Runtime, self.runtime)
        self.gateway = Gateway(bundle, runtime, client, courier, sampling)

    def show(self, frames: Sequence[NDArray[Any]] | NDArray[Any]) -> None:
        """Let the board see frames."""
        for frame in frames:
            self.client.infer(frame.tobytes(), observe=True)


@contextmanager
def scene(port: str, bundle: Bundle, place: Path, sampling: Sampling = ALL) -> Iterator[Scene]:
    """As a new process would open it."""
    with talking(port) as client:
        yield Scene(bundle, client, place, sampling)
