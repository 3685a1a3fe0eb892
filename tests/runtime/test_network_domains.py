"""Rows that a domain has to itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.domain import Domain
from sel_edge.core.errors import BundleError
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.head import Head
from sel_edge.runtime.network import Network
from sel_edge.runtime.slots import open_slots
from tests.runtime.networks import (
    CHANNELS,
    CONV,
    CONV_BIAS,
    PLACE,
    grown,
    norm,
    normed,
    rows,
    two_domains,
)
from tests.runtime.trainable import HEAD, bundle, channels, images, latents, same, training
from tests.runtime.trainable import labels as answers
from tests.runtime.updates import own


def test_rows_trained_in_a_domain_are_there_what_was_trained_and_nowhere_else() -> None:
    network = normed(own().with_rows(rows(3)), norm(5))
    network = network.with_domains({2: replace(network.domains[1], norm=norm(6))})
    step = training("tail", network.whole(1), channels("tail"))
    step.step(step.prepare(latents("tail")), answers(8), learning_rate=0.05)
    trained = {}
    for layer in step.rung.layers:
        for name in (layer.weight, layer.bias):
            trained[name] = (step.channels[layer.weight], step.rows()[name])
    learned = network.with_rows_in(1, trained)
    assert same(learned.whole(1), {**network.whole(1), **step.applied(network.whole(1))})
    for number in (0, 2):
        assert same(learned.whole(number), network.whole(number))
        assert learned.body_hash(number) == network.body_hash(number)
    assert learned.changed.keys() == network.changed.keys()


def test_rows_of_a_domain_are_not_scaled_and_the_shared_ones_are() -> None:
    """A channel that the domain silenced can be trained there as well."""
    scale, shift = norm()[CONV]
    scale[:3] = 0
    network = normed(own(), {CONV: (scale, shift)})
    given_rows = {**rows(count=3), **rows(count=2, name=CONV_BIAS)}
    found = network.with_rows_in(1, given_rows)
    for name, (chosen, values) in given_rows.items():
        expected = network.effective(1)[name].copy()
        expected[chosen] = values
        assert (found.effective(1)[name] == expected).all()
    moved = found.with_rows({CONV: (np.arange(CHANNELS), 2 * network.parameter(CONV))})
    others = np.setdiff1d(np.arange(CHANNELS), given_rows[CONV][0])
    twice = moved.effective(1)[CONV]
    assert (twice[others] == 2 * found.effective(1)[CONV][others]).all()
    assert (twice[given_rows[CONV][0]] == given_rows[CONV][1]).all()


def test_rows_of_a_domain_are_merged_and_the_newest_stands() -> None:
    ones = np.ones((2, CHANNELS, 3, 3), np.float32)
    network = normed(own(), norm()).with_rows_in(1, {CONV: (np.array([7, 2]), ones)})
    network = network.with_rows_in(1, {CONV: (np.array([9, 7]), 2 * ones)})
    indices, values = network.domains[1].rows[CONV]
    assert indices.tolist() == [2, 7, 9] and values[:, 0, 0, 0].tolist() == [1, 2, 2]
    none = {CONV_BIAS: (np.zeros(0, np.int64), np.zeros(0, np.float32))}
    assert network.with_rows_in(1, none).hash == network.hash
    with pytest.raises(ValueError, match="read-only"):
        indices[0] = 3


def test_the_bundles_own_domain_has_the_shared_rows() -> None:
    network = normed(own(), norm())
    assert network.with_rows_in(0, rows()).hash == network.with_rows(rows()).hash
    head = grown(network, "x")
    assert network.with_head_in(0, head).hash == network.with_head(head).hash


def drawn(network: Network, number: int, rng: np.random.Generator, *names: str) -> Head:
    """The head of a domain with some rows changed, and new classes."""
    head = network.head_in(number)
    more = rng.normal(size=(len(names), CHANNELS)).astype(np.float32)
    weight, bias = head.weight.copy(), head.bias.copy()
    weight[rng.random(len(weight)) < 0.4] += 1
    bias[rng.random(len(bias)) < 0.4] -= 1
    return Head(
        np.concatenate([weight, more]), np.concatenate([bias, more[:, 0]]), (*head.classes, *names)
    )


@given(st.integers(0, 2**32), st.sets(st.sampled_from("xyz")))
@settings(max_examples=50)
def test_a_head_learned_in_a_domain_harms_no_other(seed: int, names: set[str]) -> None:
    rng = np.random.default_rng(seed)
    network = two_domains()
    network = network.with_head_in(2, drawn(network, 2, rng, "w"))
    head = drawn(network, 1, rng, *sorted(names))
    found = network.with_head_in(1, head)
    assert found.head_in(1).hash == head.hash and found.head_in(1) is found.head_in(1)
    assert not found.head_in(1).weight.flags.writeable
    known = len(network.classes)
    for number in (0, 2, 9):
        before, after = network.head_in(number), found.head_in(number)
        assert (after.weight[:known] == before.weight).all()
        assert (after.bias[:known] == before.bias).all()
        assert (after.weight[known:] == head.weight[known:]).all()
        assert after.classes == head.classes
    assert same(found.effective(1), network.effective(1))
    whole = found.whole(1)
    assert (whole[HEAD] == head.weight).all() and (whole["fc.bias"] == head.bias).all()
    for number in (0, 1, 2):
        assert found.body_hash(number) == network.body_hash(number)


def test_rows_that_equal_the_shared_ones_are_not_stored() -> None:
    network = two_domains()
    assert network.with_head_in(1, network.head).hash == network.hash
    assert network.head_in(1) is network.head
    changed = network.head.weight.copy()
    changed[2] += 1
    other = network.with_head_in(1, replace(network.head, weight=changed))
    assert other.domains[1].rows.keys() == {HEAD}
    assert other.domains[1].rows[HEAD][0].tolist() == [2]
    with_body = other.with_rows_in(1, rows())
    assert with_body.with_head_in(1, network.head).domains[1].rows.keys() == {CONV}
    assert other.with_head_in(1, network.head).hash == network.hash


def test_a_zero_of_another_sign_is_a_row_of_its_own() -> None:
    network = two_domains()
    zero = network.head.bias.copy()
    zero[0] = 0
    network = network.with_head(replace(network.head, bias=zero))
    minus = replace(network.head, bias=np.where(zero == 0, np.float32(-0.0), zero))
    found = network.with_head_in(1, minus)
    assert found.domains[1].rows["fc.bias"][0].tolist() == [0] and found.hash != network.hash
    assert found.head_in(1).hash == minus.hash


def test_rows_of_a_domain_go_and_move_with_their_classes() -> None:
    network = two_domains()
    network = network.with_head(grown(network, "x", "y", "z"))
    learned = len(own().classes)
    head = network.head
    changed = head.weight.copy()
    changed[[1, learned, learned + 2]] += 1
    network = network.with_head_in(1, replace(head, weight=changed, bias=head.bias + 1))
    order = [*range(learned), learned + 2, learned + 1]
    fewer = Head(head.weight[order], head.bias[order], (*own().classes, "z", "y"))
    found = network.with_head(fewer)
    assert found.domains[1].rows[HEAD][0].tolist() == [1, learned]
    assert (found.head_in(1).weight == changed[order]).all()
    assert (found.head_in(1).bias == head.bias[order] + 1).all()
    other = Head(head.weight, head.bias, (*own().classes, "u", "v", "w"))
    assert network.with_head(other).domains[1].rows[HEAD][0].tolist() == [1]
    back = network.with_head(own().head)
    assert back.domains[1].rows["fc.bias"][0].tolist() == list(range(learned))


def test_only_rows_beyond_the_classifier_change_the_body() -> None:
    network = two_domains()
    classifier = network.with_rows_in(1, rows(count=2, name=HEAD))
    assert classifier.body_hash(1) == network.body_hash(1) and classifier.hash != network.hash
    body = network.with_rows_in(1, rows())
    assert body.body_hash(1) not in (network.body_hash(1), network.with_rows(rows()).body_hash(1))
    assert body.body_hash(2) == network.body_hash(2) and body.body_hash(0) == network.body_hash(0)


def test_the_engine_computes_with_the_rows_of_a_domain() -> None:
    network = two_domains().with_rows_in(2, rows())
    engine, other = Engine(bundle(), threads=1), Engine(bundle(), threads=1)
    engine.load(network.effective(2))
    other.load(own().with_rows(rows()).effective())
    assert (engine.features(images(4)) == other.features(images(4))).all()


GOOD = np.zeros((1, CHANNELS, 3, 3), np.float32)


@pytest.mark.parametrize(
    "bad",
    [
        {CONV: (np.array([1, 0]), np.repeat(GOOD, 2, axis=0))},
        {CONV: (np.zeros(0, np.int64), GOOD[:0])},
        {CONV: (np.array([0], np.int32), GOOD)},
        {HEAD: (np.array([5]), np.zeros((1, CHANNELS), np.float32))},
    ],
)
def test_rows_that_a_domain_cannot_have_are_refused(bad: Any) -> None:
    domain = Domain(PLACE, 64, rows=bad)
    with pytest.raises(BundleError, match="does not fit the network"):
        own().with_domains({1: domain})


def test_an_unknown_domain_can_be_given_nothing() -> None:
    for put in (lambda n: n.with_rows_in(3, rows()), lambda n: n.with_head_in(3, n.head)):
        with pytest.raises(BundleError, match="does not fit the network"):
            put(two_domains())
    assert two_domains().head_in(3).classes == own().classes


def test_a_domain_cannot_forget_or_turn_classes() -> None:
    network = two_domains()
    network = network.with_head(grown(network, "x"))
    head = network.head
    for bad in (
        own().head,
        Head(head.weight, head.bias, (*head.classes[:-1], "y")),
        Head(head.weight.astype(np.float64), head.bias, head.classes),
        Head(head.weight * np.float32(np.nan), head.bias, head.classes),
        Head(head.weight, head.bias[1:], head.classes),
    ):
        with pytest.raises(BundleError, match="does not fit the network"):
            network.with_head_in(1, bad)


def test_the_history_counts_rows_of_domains_with_the_others(tmp_path: Path) -> None:
    ones = np.ones(3, np.float32)
    start = own().with_domains({1: Domain(PLACE, 64)})
    three = start.with_rows_in(1, {CONV_BIAS: (np.arange(3), ones)})
    shared = three.with_rows({CONV_BIAS: (np.arange(3), ones)})
    two = {CONV_BIAS: (np.arange(2), 2 * ones[:2])}
    last = shared.with_domains({1: replace(three.domains[1], rows=two)})
    with open_slots(tmp_path / "state", bundle()) as slots:
        for network in (start, three, shared, last):
            slots.commit(network, frame=0)
        entries = slots.history().entries
    assert [entry.rows for entry in entries] == [{}, *[{CONV_BIAS: 3}] * 3]
    assert [entry.domains for entry in entries] == [True, True, False, True]
    with open_slots(tmp_path / "state", bundle()) as slots:
        assert same(slots.current().whole(1), last.whole(1))
