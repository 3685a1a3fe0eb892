"""Which network a board is to run: a domain of one, or what a file of a delta leads to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import INPUT, Domain
from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.core.errors import BundleError, StorageError
from sel_edge.gateway.target import board_network, network_after
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import running
from sel_edge.runtime.deltas import between
from sel_edge.runtime.network import Network, bundle_network

HEAD = "fc.weight"
HERE = Domain(np.zeros(2, np.float32), 32)


def learned(network: Network, seed: int) -> Network:
    """With another row of the classifier."""
    row = np.random.default_rng(seed).normal(size=(1, network.head.weight.shape[1]))
    return network.with_rows({HEAD: (np.array([seed % 4]), row.astype(np.float32))})


def with_domain(network: Network, seed: int) -> Network:
    """With domain 1, which has a row of its own."""
    row = learned(network, seed).head.weight[[seed % 4]]
    rows = {HEAD: (np.array([seed % 4]), row)}
    return network.with_domains({1: replace(HERE, rows=rows)})


def test_the_bundles_own_network_is_the_image(bundle: Bundle) -> None:
    image = bundle.mcu_image()
    assert difference(running(image), board_network(image, bundle_network(bundle))) == b""


def test_a_domain_has_its_own_rows(bundle: Bundle) -> None:
    image, own = bundle.mcu_image(), bundle_network(bundle)
    network = with_domain(own, 2)
    assert difference(running(image), board_network(image, network)) == b""
    found = board_network(image, network, 1)
    assert difference(board_network(image, learned(own, 2)), found) == b""
    assert difference(running(image), found) != b""


def test_a_domain_that_is_not_there_is_refused(bundle: Bundle) -> None:
    network = with_domain(bundle_network(bundle), 2)
    with pytest.raises(BundleError, match=r"domain 2.*0, 1"):
        board_network(bundle.mcu_image(), network, 2)


def test_a_domain_with_a_filter_is_refused(bundle: Bundle) -> None:
    spectrum = (np.ones(4, np.float32), np.zeros(4, np.float32))
    domain = replace(HERE, norm={INPUT: spectrum})
    network = replace(bundle_network(bundle), domains={1: domain})
    with pytest.raises(BundleError, match=r"filters the frames of domain 1.*sel-edge gateway"):
        board_network(bundle.mcu_image(), network, 1)


class Kept:
    """Deltas as a device keeps them: files in one folder, each leading on from the last."""

    def __init__(self, folder: Path, bundle: Bundle, key: PrivateKey) -> None:
        self.networks, self.files = [bundle_network(bundle)], list[Path]()
        for seed in range(3):
            before = self.networks[-1]
            self.networks.append(learned(before, seed))
            delta = between(before, self.networks[-1], seed + 1, 0)
            self.files.append(folder / f"{seed}.delta")
            self.files[-1].write_bytes(delta.signed(key))


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    return open_key(tmp_path / "keys" / "key.pem")


@pytest.fixture
def kept(bundle: Bundle, tmp_path: Path, key: PrivateKey) -> Kept:
    (tmp_path / "deltas").mkdir()
    return Kept(tmp_path / "deltas", bundle, key)


def test_a_delta_leads_to_its_network_by_way_of_those_before(
    bundle: Bundle, kept: Kept, key: PrivateKey
) -> None:
    for path, network in zip(kept.files, kept.networks[1:], strict=True):
        assert network_after(bundle, path, {key.public}).hash == network.hash


def test_a_delta_that_cannot_be_used_is_refused(
    bundle: Bundle, kept: Kept, key: PrivateKey, tmp_path: Path
) -> None:
    trusted, last = {key.public}, kept.files[-1]
    with pytest.raises(BundleError):
        network_after(bundle, last, {open_key(tmp_path / "other" / "key.pem").public})
    with pytest.raises(StorageError, match="cannot be read"):
        network_after(bundle, tmp_path / "no.delta", trusted)
    kept.files[1].write_bytes(b"damaged")
    with pytest.raises(BundleError, match="beside it"):
        network_after(bundle, last, trusted)
    assert network_after(bundle, kept.files[0], trusted).hash == kept.networks[1].hash
