"""The network in use as differences from its bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sel_edge.bundle.domain import Domain
from sel_edge.core.errors import BundleError
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.head import Head
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
from tests.runtime.trainable import HEAD, bundle, images, latents, same, training
from tests.runtime.trainable import labels as answers
from tests.runtime.updates import own


def test_the_bundles_network_differs_in_nothing() -> None:
    network = own()
    assert network.effective() == {} and network.classes == bundle().manifest.classes
    assert same(network.whole(), bundle().parameters())
    weight, bias = bundle().head()
    assert (network.head.weight == weight).all() and (network.head.bias == bias).all()


def test_changing_makes_a_new_network_and_leaves_the_old_one() -> None:
    network = own()
    before = network.hash
    changed = normed(network.with_rows(rows()), norm()).with_head(grown(network, "x"))
    assert network.hash == before and network.effective() == {}
    assert changed.classes == (*network.classes, "x") and changed.hash != before
    with pytest.raises(ValueError, match="read-only"):
        changed.changed[CONV][0] = 0


def test_the_hash_names_the_bits_and_not_the_way_to_them() -> None:
    first, second = rows(1), rows(1, name="body.2.conv1.weight")
    one = normed(own().with_rows(first).with_rows(second), norm())
    other = normed(normed(own(), norm(3)).with_rows({**second, **first}), norm())
    assert one.hash == other.hash
    back = normed(one, {}).with_rows(
        {name: (np.arange(CHANNELS), bundle().parameters()[name]) for name in (*first, *second)}
    )
    assert back.hash == own().hash and back.changed == {}


@pytest.mark.parametrize(
    "changed",
    [
        lambda n: normed(n, norm()).with_rows_in(1, rows(0, 1)),
        lambda n: normed(n, norm()).with_rows_in(1, rows(0, 2)),
        lambda n: normed(n, norm()).with_rows_in(1, rows(1, 2, HEAD)),
        lambda n: n.with_rows(rows(0, 1)),
        lambda n: n.with_rows({CONV_BIAS: (np.array([0]), -n.parameter(CONV_BIAS)[:1])}),
        lambda n: normed(n, norm()),
        lambda n: normed(n, {CONV: norm()[CONV]}),
        lambda n: n.with_head(grown(n, "x")),
        lambda n: n.with_head(grown(n, "y")),
        lambda n: n.with_head(grown(n, "x", "y")),
    ],
)
def test_every_difference_is_in_the_hash(changed: Any) -> None:
    others = {own().hash, normed(own(), norm(7)).hash, own().with_rows(rows(7)).hash}
    assert changed(own()).hash not in others


def test_only_the_classifier_leaves_the_body_as_it_is() -> None:
    network = normed(own(), norm())
    assert network.with_head(grown(network, "x")).body_hash(1) == network.body_hash(1)
    assert network.with_rows(rows()).body_hash(1) != network.body_hash(1)
    assert network.body_hash(0) == own().body_hash(0) != network.body_hash(1)


def test_the_engine_computes_what_whole_says() -> None:
    """Differential: scale and shift after the bundle's own layer, by hand, against the engine."""
    network = normed(own().with_rows(rows()), {CONV: norm()[CONV]})
    scale, shift = network.norm(1)[CONV]
    weight = network.parameter(CONV) * scale[:, None, None, None]
    bias = network.parameter(CONV_BIAS) * scale + shift
    assert same(network.effective(1), {CONV: weight, CONV_BIAS: bias})
    assert same(network.effective(1, bundle().parameters()), network.effective(1))
    engine, other = Engine(bundle(), threads=1), Engine(bundle(), threads=1)
    engine.load(network.effective(1))
    other.load({CONV: weight, CONV_BIAS: bias})
    assert (engine.features(images(4)) == other.features(images(4))).all()


def test_a_grown_network_loads_and_can_be_trained() -> None:
    network = normed(own(), norm()).with_rows(rows())
    network = network.with_head(grown(network, "x"))
    Engine(bundle(), threads=1).load(network.effective(1))
    whole = network.whole(1)
    assert whole[HEAD].shape == (6, CHANNELS) and whole.keys() == bundle().parameters().keys()
    step = training("tail", whole)
    step.step(step.prepare(latents("tail")), answers(8), learning_rate=0.01)


GOOD = np.zeros((1, CHANNELS, 3, 3), np.float32)


@pytest.mark.parametrize(
    "bad",
    [
        {"nothing": (np.array([0]), GOOD)},
        {CONV: (np.array([CHANNELS]), GOOD)},
        {CONV: (np.array([-1]), GOOD)},
        {CONV: (np.array([0, 0]), np.repeat(GOOD, 2, axis=0))},
        {CONV: (np.array([0]), GOOD[:, 1:])},
        {CONV: (np.array([0]), GOOD.astype(np.float64))},
        {CONV: (np.array([0]), GOOD + np.nan)},
        {CONV: (np.array([0.0]), GOOD)},
        {CONV: (np.array([[0]]), GOOD)},
    ],
)
def test_rows_that_do_not_fit_are_refused(bad: Any) -> None:
    network = two_domains()
    for put in (
        network.with_rows,
        lambda rows: network.with_rows_in(1, rows),
        lambda rows: network.with_domains({1: replace(network.domains[1], rows=rows)}),
    ):
        with pytest.raises(BundleError, match="does not fit the network"):
            put(bad)


ONE = np.ones(CHANNELS, np.float32)


@pytest.mark.parametrize(
    "bad",
    [
        {"nothing": (ONE, ONE)},
        {CONV_BIAS: (ONE, ONE)},
        {HEAD: (ONE[:5], ONE[:5])},
        {CONV: (ONE[1:], ONE)},
        {CONV: (ONE, ONE * np.inf)},
        {CONV: (ONE.astype(np.float64), ONE)},
    ],
)
def test_a_norm_that_does_not_fit_is_refused(bad: Any) -> None:
    with pytest.raises(BundleError, match="does not fit the network"):
        normed(own(), bad)


@pytest.mark.parametrize(
    ("number", "domain"),
    [
        (0, Domain(PLACE, 64)),
        (-1, Domain(PLACE, 64)),
        (1, Domain(PLACE, 0)),
        (1, Domain(PLACE * np.nan, 64)),
        (1, Domain(PLACE[None], 64)),
        (1, Domain(PLACE[:0], 64)),
        (1, Domain(PLACE[1:], 64)),
        (1, Domain(np.append(PLACE, PLACE), 64)),
    ],
)
def test_a_domain_that_cannot_be_is_refused(number: int, domain: Domain) -> None:
    with pytest.raises(BundleError, match="does not fit the network"):
        own().with_domains({number: domain})


def test_a_head_of_other_classes_or_features_is_refused() -> None:
    head = own().head
    for bad in (
        Head(head.weight, head.bias, head.classes[::-1]),
        Head(head.weight[:4], head.bias[:4], head.classes[:4]),
        Head(head.weight[:, 1:], head.bias, head.classes),
        Head(head.weight, head.bias[1:], head.classes),
        Head(head.weight * np.float32(np.inf), head.bias, head.classes),
        grown(own(), head.classes[0]),
    ):
        with (
            pytest.raises(BundleError, match="does not fit the network"),
            np.errstate(all="ignore"),
        ):
            own().with_head(bad)
