"""What a board is to run: a network of the runtime in one domain, in the board's integers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.delta import MAX_DELTA_BYTES, Delta, open_delta
from sel_edge.bundle.domain import OWN
from sel_edge.bundle.keys import PublicKey
from sel_edge.core.errors import BundleError, StorageError
from sel_edge.mcu.image import Image
from sel_edge.mcu.payload import quantized_network
from sel_edge.mcu.running import Running
from sel_edge.runtime.deltas import apply
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.slot_files import SUFFIX


def board_network(image: Image, network: Network, domain: int = OWN) -> Running:
    """A network as a board would run it.

    Args:
        image: of the bundle.
        network: of the bundle.
        domain: in which; a board runs one at a time.

    Raises:
        BundleError: the domain is unknown or filters its frames, or the network is not to be
            quantized.
    """
    if domain != OWN and domain not in network.domains:
        known = ", ".join(map(str, (OWN, *network.domains)))
        raise BundleError(
            f"The network knows no domain {domain}.",
            f"One of these is expected: {known}.",
            "Choose one of them.",
        )
    if network.lens(domain) is not None:
        raise BundleError(
            f"The network filters the frames of domain {domain} before it sees them.",
            "A microcontroller cannot do that.",
            "Learn with `sel-edge gateway`, which adapts without such filters.",
        )
    base = network.base
    biases = {**base.biases, base.head_weight: base.head_bias}
    return quantized_network(image, network.whole(domain), biases, network.classes)


def network_after(bundle: Bundle, path: Path, trusted: Collection[PublicKey]) -> Network:
    """The network that a delta file leads to, by way of those beside it.

    Args:
        bundle: that it is of.
        path: of the delta.
        trusted: keys whose deltas are read.

    Raises:
        BundleError: a delta is damaged, of an unknown signer or another bundle, or one is missing.
        StorageError: a file cannot be read.
    """
    network, delta = bundle_network(bundle), _read(path, trusted)
    chain = [delta]
    if delta.parent != network.hash:
        beside = {one.new: one for one in _beside(path, trusted)}
        while chain[-1].parent != network.hash:
            before = beside.pop(chain[-1].parent, None)
            if before is None:
                raise BundleError(
                    f"The delta {path} leads on from the network {chain[-1].parent}.",
                    "The deltas that lead there from the bundle are expected beside it.",
                    "Name a delta in the slots/deltas of a state directory, and its bundle.",
                )
            chain.append(before)
    for one in reversed(chain):
        network = apply(network, one)
    return network


def _beside(path: Path, trusted: Collection[PublicKey]) -> Iterator[Delta]:
    """The other deltas in the folder that can be used."""
    for other in sorted(path.parent.glob(f"*{SUFFIX}")):
        if other.name != path.name:
            with suppress(BundleError):
                yield _read(other, trusted)


def _read(path: Path, trusted: Collection[PublicKey]) -> Delta:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_DELTA_BYTES + 1)
    except OSError as error:
        raise StorageError(
            f"The delta {path} cannot be read: {error.strerror or error}.",
            "A file in the slots/deltas of a state directory is expected.",
            "Check the path.",
        ) from error
    return open_delta(content, trusted)
