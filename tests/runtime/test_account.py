"""What a ledger says at a start: which labels prove nothing any more to the network in use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import Update
from sel_edge.runtime.account import taught_at_start
from sel_edge.runtime.network import Network
from tests.core import ledgers
from tests.runtime.networks import norm, normed, two_domains
from tests.runtime.updates import own

START = own().hash


def chain(network: Network, *steps: tuple[str, int, int]) -> list[Update]:
    """Kept updates, each of a rung, in a domain and at a frame, from the bundle's network to this
    one."""
    names = [START, *(f"{number:064x}" for number in range(1, len(steps))), network.hash]
    return [
        made(rung, domain, frame, network_before=before, network_after=after)
        for (rung, domain, frame), before, after in zip(steps, names, names[1:], strict=False)
    ]


def made(rung: str, domain: int, frame: int, **more: Any) -> Update:
    return ledgers.update(rung=rung, domain=domain, frame=frame, **more)


def test_the_bundles_own_network_was_taught_nothing() -> None:
    assert taught_at_start([], own(), 0) == {}
    left = chain(two_domains(), ("head", 0, 10), ("norm", 1, 20))
    assert taught_at_start(left, own(), 0) == {}  # a person has gone back


def test_each_domain_was_taught_by_its_last_lesson() -> None:
    steps = (("head", 0, 10), ("norm", 1, 20), ("head", 1, 30), ("head", 0, 40), ("norm", 1, 50))
    assert taught_at_start(chain(two_domains(), *steps), two_domains(), 50) == {0: 40, 1: 30}


def test_a_new_domain_may_have_labels_of_which_others_learned() -> None:
    """What was said of its frames was believed of another domain, until it was found."""
    steps = (("norm", 1, 5), ("head", 0, 10), ("head", 1, 20), ("norm", 2, 30), ("head", 0, 40))
    assert taught_at_start(chain(two_domains(), *steps), two_domains(), 40) == {0: 40, 1: 20, 2: 20}


def test_what_was_undone_or_rejected_taught_nothing() -> None:
    network = normed(own(), norm())
    kept = chain(network, ("norm", 1, 10))
    others = [
        made("head", 0, 20, kept=False, network_before=network.hash),
        made("head", 0, 30, network_before=network.hash, network_after="c" * 64),
    ]
    assert taught_at_start([*kept, *others], network, 10) == {1: 0}


def test_an_update_that_was_not_recorded_may_have_taught_every_domain() -> None:
    network = two_domains()
    recorded = chain(network, ("head", 0, 10), ("norm", 1, 20), ("head", 1, 30))[:2]
    assert taught_at_start(recorded, network, 30) == {0: 30, 1: 30, 2: 30}
    assert taught_at_start([], network, 30) == {0: 30, 1: 30, 2: 30}


def test_one_in_between_may_have_done_so_until_the_next() -> None:
    network = two_domains()
    updates = chain(network, ("norm", 1, 10), ("head", 1, 20), ("norm", 2, 30), ("head", 0, 40))
    without = [update for update in updates if update.frame != 20]
    assert taught_at_start(without, network, 40) == {0: 40, 1: 30, 2: 30}


def test_ways_in_a_circle_come_to_an_end() -> None:
    network = normed(own(), norm())
    first, back = chain(network, ("norm", 1, 10)), made("head", 0, 20, network_before=network.hash)
    there = replace(back, network_after=START)
    assert taught_at_start([*first, there], network, 10) == {1: 0}
    other = replace(back, network_after="d" * 64)
    again = replace(other, network_before="d" * 64, network_after=network.hash, frame=30)
    assert taught_at_start([*first, other, again], network, 30)[0] == 30


STEPS = st.lists(
    st.tuples(st.sampled_from(["head", "norm"]), st.sampled_from([0, 1, 2])), max_size=6
)


@given(STEPS, st.data())
def test_whatever_is_missing_makes_nothing_a_proof(
    kinds: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Of no domain fewer frames are said to have taught it than where all was recorded."""
    network = two_domains()
    kinds = [("head" if domain == 0 else rung, domain) for rung, domain in kinds]
    steps = [(rung, domain, 10 * n) for n, (rung, domain) in enumerate(kinds, 1)]
    if not steps:
        return
    updates, made_at = chain(network, *steps), 10 * len(steps)
    whole = taught_at_start(updates, network, made_at)
    kept = data.draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps)))
    left = [update for update, keep in zip(updates, kept, strict=True) if keep]
    found = taught_at_start(left, network, made_at)
    assert all(found.get(domain, 0) >= frame for domain, frame in whole.items())
    assert max(found.values()) <= made_at
