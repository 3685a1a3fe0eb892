"""From one network to another and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.canonical import network_hash
from sel_edge.bundle.delta import OwnRows, Rows, parse_delta
from sel_edge.bundle.domain import OWN, Domain
from sel_edge.core.errors import BundleError
from sel_edge.runtime.deltas import apply, between
from sel_edge.runtime.network import Network
from tests.runtime.networks import PLACE, grown
from tests.runtime.trainable import HEAD, same
from tests.runtime.updates import own, updated

CONV = "body.2.conv2.weight"


def walk(seed: int, steps: int) -> list[Network]:
    rng, networks = np.random.default_rng(seed), [own()]
    for _ in range(steps):
        networks.append(updated(networks[-1], rng))
    return networks


@given(st.integers(0, 2**32), st.integers(1, 8))
@settings(max_examples=100)
def test_a_delta_leads_from_any_network_to_any_other_bit_for_bit(seed: int, steps: int) -> None:
    networks = walk(seed, steps)
    first, last = networks[0], networks[-1]
    for before, after in [(first, last), (last, first), (networks[-2], last), (last, networks[-2])]:
        delta = parse_delta(between(before, after, 3, 4).content)
        found = apply(before, delta)
        assert found.hash == after.hash == delta.new and found.classes == after.classes
        assert found.domains.keys() == after.domains.keys()
        for number in (OWN, *after.domains):
            assert same(found.whole(number), after.whole(number))
            assert found.body_hash(number) == after.body_hash(number)


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


FOG = 3


def foggy() -> Network:
    """With a domain that has two rows of a convolution and one of the classifier."""
    domain = Domain(PLACE, 64)
    network = own().with_domains({FOG: domain})
    ones = np.ones((2, 12, 3, 3), np.float32)
    return network.with_rows_in(
        FOG, {CONV: (np.array([2, 7]), ones), HEAD: (np.array([1]), ones[:1, :, 0, 0])}
    )


def test_rows_of_a_domain_cost_themselves_and_not_the_domain() -> None:
    network = foggy()
    value = np.ones((2, 12, 3, 3), np.float32)
    value[1] = 2
    delta = between(network, network.with_rows_in(FOG, {CONV: (np.array([7, 9]), value)}), 1, 0)
    assert delta.rows == {} and delta.domains == {} and delta.own_rows.keys() == {FOG}
    assert delta.own_rows[FOG].keys() == {CONV}
    assert delta.own_rows[FOG][CONV].rows.indices.tolist() == [9]
    place = replace(network.domains[FOG], frames=65)
    moved = network.with_domains({FOG: place})
    delta = between(network, moved, 1, 0)
    assert delta.domains[FOG].frames == 65 and delta.own_rows == {}
    assert apply(network, delta).hash == moved.hash


def test_rows_of_a_domain_that_are_dropped_cost_their_numbers() -> None:
    network = foggy()
    bare = network.with_domains({FOG: replace(network.domains[FOG], rows={})})
    delta = between(network, bare, 1, 0)
    assert {name: c.gone.tolist() for name, c in delta.own_rows[FOG].items()} == {
        CONV: [2, 7],
        HEAD: [1],
    }
    assert len(delta.content) < 300
    assert apply(network, delta).hash == bare.hash == own().with_domains(bare.domains).hash


def test_a_class_learned_in_a_domain_is_everybodys() -> None:
    network = foggy()
    new, here = grown(network, "x"), network.head_in(FOG).weight
    weight = np.concatenate([here, new.weight[len(here) :]])
    after = network.with_head_in(FOG, replace(new, weight=weight))
    delta = between(network, after, 1, 0)
    assert delta.rows.keys() == {HEAD, "fc.bias"} and delta.own_rows == {}
    assert apply(network, delta).hash == after.hash


def test_rows_of_classes_that_are_forgotten_cost_nothing() -> None:
    """Rows of a learned class that a domain has to itself go without being named."""
    network = foggy()
    head = grown(network, "x")
    changed = head.weight.copy()
    changed[-1] += 1
    network = network.with_head(head).with_head_in(FOG, replace(head, weight=changed))
    assert network.domains[FOG].rows[HEAD][0].tolist() == [len(head.classes) - 1]
    back = network.with_head(own().head)
    delta = between(network, back, 1, 0)
    assert delta.own_rows == {} and back.domains[FOG].rows.keys() == {CONV}
    assert apply(network, delta).hash == back.hash
    assert apply(back, between(back, network, 2, 0)).hash == network.hash


NONE = np.zeros(0, np.int64)


@pytest.mark.parametrize(
    ("number", "name", "rows"),
    [
        (4, CONV, Rows(np.array([0]), np.zeros((1, 12, 3, 3), np.float32), 12)),
        (FOG, "nothing", Rows(np.array([0]), np.zeros((1, 12, 3, 3), np.float32), 12)),
        (FOG, CONV, Rows(np.array([0]), np.zeros((1, 12, 3, 3), np.float32), 13)),
        (FOG, CONV, Rows(np.array([0]), np.zeros((1, 11, 3, 3), np.float32), 12)),
        (FOG, HEAD, Rows(np.array([5]), np.zeros((1, 12), np.float32), 6)),
        (FOG, HEAD, Rows(np.array([5]), np.zeros((1, 12), np.float32), 5)),
        (FOG, CONV, Rows(np.array([0]), np.full((1, 12, 3, 3), np.nan, np.float32), 12)),
    ],
)
def test_rows_of_a_domain_that_do_not_fit_are_refused(number: int, name: str, rows: Rows) -> None:
    delta = replace(between(foggy(), foggy(), 1, 0), own_rows={number: {name: OwnRows(rows, NONE)}})
    with pytest.raises(BundleError):
        apply(foggy(), delta)


@pytest.mark.parametrize("size", [0, 5, 7])
def test_a_domain_at_a_place_of_other_dimensions_is_refused(size: int) -> None:
    """Also where all else fits: frames could never be compared with it."""
    place = np.zeros(size, np.float32)
    domains = {FOG: replace(foggy().domains[FOG], place=place, rows={})}
    new = network_hash(own().base.hash, (), {}, domains)
    made = replace(between(own(), foggy(), 1, 0), new=new, domains=domains, own_rows={})
    with pytest.raises(BundleError, match=f"a place of .{size}. numbers where 6 are due"):
        apply(own(), parse_delta(made.content))


def test_rows_of_a_domain_that_goes_are_refused() -> None:
    rows = {CONV: OwnRows(Rows(NONE, np.zeros((0, 12, 3, 3), np.float32), 12), np.array([2]))}
    delta = between(foggy(), foggy(), 1, 0)
    with pytest.raises(BundleError, match="has rows of the domain 3"):
        apply(foggy(), replace(delta, domains={FOG: None}, own_rows={FOG: rows}))


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
