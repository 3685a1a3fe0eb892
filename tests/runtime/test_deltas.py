"""From one network to another and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.delta import Rows, parse_delta
from sel_edge.core.errors import BundleError
from sel_edge.runtime.deltas import apply, between
from sel_edge.runtime.network import Network
from tests.runtime.trainable import HEAD, same
from tests.runtime.updates import own, updated

CONV = "body.2.conv2.weight"


def walk(seed: int, steps: int) -> list[Network]:
    rng, networks = np.random.default_rng(seed), [own()]
    for _ in range(steps):
        networks.append(updated(networks[-1], rng))
    return networks


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=60)
def test_a_delta_leads_from_any_network_to_any_other_bit_for_bit(seed: int, steps: int) -> None:
    networks = walk(seed, steps)
    first, last = networks[0], networks[-1]
    for before, after in [(first, last), (last, first), (networks[-2], last), (last, networks[-2])]:
        delta = parse_delta(between(before, after, 3, 4).content)
        found = apply(before, delta)
        assert found.hash == after.hash == delta.new and found.classes == after.classes
        assert same(found.whole(), after.whole())


def test_a_delta_holds_only_the_rows_that_differ() -> None:
    network = own()
    value = network.parameter(CONV)[[2, 7]].copy()
    value[1] += 1
    delta = between(network, network.with_rows({CONV: (np.array([2, 7]), value)}), 1, 0)
    assert delta.rows.keys() == {CONV} and delta.rows[CONV].indices.tolist() == [7]
    assert delta.domains == {} and delta.learned == ()


def test_a_change_that_compares_equal_is_a_change_of_bits() -> None:
    zero = own().with_rows({CONV: (np.array([0]), np.zeros((1, 12, 3, 3), np.float32))})
    minus = zero.with_rows({CONV: (np.array([0]), -np.zeros((1, 12, 3, 3), np.float32))})
    assert apply(zero, between(zero, minus, 1, 0)).hash == minus.hash != zero.hash


def test_a_domain_that_goes_costs_only_its_number() -> None:
    rng = np.random.default_rng(0)
    network = own()
    while not network.domains:
        network = updated(network, rng)
    (number,) = network.domains
    delta = between(network, network.with_domains({number: None}), 1, 0)
    assert delta.rows == {} and delta.domains == {number: None}


def test_a_delta_for_another_network_or_bundle_is_refused() -> None:
    one, two, three = walk(1, 2)
    delta = between(one, two, 1, 0)
    with pytest.raises(BundleError, match="is for the network"):
        apply(three, delta)
    with pytest.raises(BundleError, match="is for the bundle"):
        apply(one, replace(delta, base="00" * 32))
    foreign = Network(replace(one.base, hash="00" * 32))
    with pytest.raises(BundleError, match="two bundles"):
        between(one, foreign, 1, 0)


def test_a_delta_that_leads_elsewhere_than_it_says_is_refused() -> None:
    one, two = walk(1, 1)
    with pytest.raises(BundleError, match="leads to the network"):
        apply(one, replace(between(one, two, 1, 0), new="00" * 32))


ROW = np.zeros((1, 12, 3, 3), np.float32)


@pytest.mark.parametrize(
    "rows",
    [
        {"nothing": Rows(np.array([0]), ROW, 12)},
        {CONV: Rows(np.array([0]), ROW, 13)},
        {CONV: Rows(np.array([0]), ROW[:, 1:], 12)},
        {HEAD: Rows(np.array([0]), np.zeros((1, 12), np.float32), 6)},
        {HEAD: Rows(np.array([0]), np.zeros((1, 11), np.float32), 5)},
    ],
)
def test_rows_that_do_not_fit_the_network_are_refused(rows: dict[str, Rows]) -> None:
    with pytest.raises(BundleError):
        apply(own(), replace(between(own(), own(), 1, 0), rows=rows))


def test_classes_and_rows_of_the_classifier_go_together() -> None:
    delta = replace(between(own(), own(), 1, 0), learned=("x",))
    grown = {
        HEAD: Rows(np.array([5]), np.zeros((1, 12), np.float32), 6),
        "fc.bias": Rows(np.array([5]), np.zeros(1, np.float32), 6),
    }
    missing = replace(grown[HEAD], indices=np.array([0]))
    for rows in ({}, {HEAD: grown[HEAD]}, {**grown, HEAD: missing}):
        with pytest.raises(BundleError):
            apply(own(), replace(delta, rows=rows))
    known = replace(delta, learned=("a",), rows=grown)
    with pytest.raises(BundleError, match="does not fit"):
        apply(own(), known)
