"""Answers alone: what a network says of frames, with nothing learned or remembered of them."""

from __future__ import annotations

from dataclasses import dataclass

from sel_edge.core.embarrassment import TEMPERATURE, softmax
from sel_edge.core.frames import Frames
from sel_edge.runtime.domains import Router
from sel_edge.runtime.engine import MAX_BATCH
from sel_edge.runtime.eyes import Eyes
from sel_edge.runtime.network import Network


@dataclass(frozen=True)
class Said:
    """An answer.

    Attributes:
        prediction: class name.
        confidence: share of that class, 0 to 1, softmax at T = 1.5.
        domain: number of the domain that it was given in.
    """

    prediction: str
    confidence: float
    domain: int


def said(eyes: Eyes, network: Network, frames: Frames, router: Router) -> list[Said]:
    """Answer for frames in the order of a stream.

    Args:
        eyes: of the runtime.
        network: in use.
        frames: uint8 [n, H, W, C] or float32 [n, channels, length].
        router: tells domains apart.

    Raises:
        DataError: the frames do not have the bundle's shape.
        BundleError: the network answers with numbers that are not finite.
    """
    return [
        answer
        for start in range(0, len(frames), MAX_BATCH)
        for answer in _said(eyes, network, frames[start : start + MAX_BATCH], router)
    ]


def _said(eyes: Eyes, network: Network, frames: Frames, router: Router) -> list[Said]:
    sight = eyes.look(frames, network, router)
    found = []
    for number, feature in zip(sight.domains.tolist(), sight.features, strict=True):
        logits = network.head_in(number).logits(feature[None])[0]
        best = int(logits.argmax())
        share = float(softmax(logits[None] / TEMPERATURE)[0, best])
        found.append(Said(network.classes[best], share, number))
    return found
