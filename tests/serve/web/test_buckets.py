"""No client gets more than its share, whatever it tries, and none is held back for another."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.serve.web.buckets import CLIENTS, Buckets, client_of
from sel_edge.serve.web.settings import Limits
from tests.serve.web.visit import visit

MOMENTS = st.lists(st.floats(0, 5, allow_subnormal=False), min_size=1, max_size=60)


@given(MOMENTS, st.floats(0.1, 10), st.integers(1, 10))
def test_in_no_time_span_more_goes_through_than_a_full_bucket_and_what_flows(pauses, per_s, size):
    now = [0.0]
    buckets = Buckets(per_s, size, lambda: now[0])
    taken = []
    for pause in pauses:
        now[0] += pause
        wait = buckets.take("a")
        if not wait:
            taken.append(now[0])
        else:
            assert wait <= 1 / per_s
        assert not buckets.wait_s("b")
    for first, start in enumerate(taken):
        for count, end in enumerate(taken[first:], 1):
            assert count <= size + (end - start) * per_s + 1e-6


@given(MOMENTS, st.floats(0.1, 10), st.integers(1, 10))
def test_after_the_wait_that_was_told_there_is_a_token(pauses, per_s, size):
    now = [0.0]
    buckets = Buckets(per_s, size, lambda: now[0])
    for pause in pauses:
        now[0] += pause
        if wait := buckets.take("a"):
            now[0] += wait + 1e-6
            assert not buckets.take("a")


def test_any_number_of_clients_takes_bounded_memory():
    buckets = Buckets(1.0, 1.0, lambda: 0.0)
    for number in range(3 * CLIENTS):
        buckets.take(str(number))
    assert len(buckets._levels) == CLIENTS
    assert buckets.wait_s(str(3 * CLIENTS - 1))


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_all_addresses_of_one_line_are_one_client(address, host):
    network = int(address) >> 64 << 64
    if ipaddress.IPv6Address(network | host).ipv4_mapped is None and address.ipv4_mapped is None:
        assert client_of(str(address)) == client_of(str(ipaddress.IPv6Address(network | host)))


@given(st.ip_addresses(v=4))
def test_an_address_is_the_same_client_by_either_protocol(address):
    assert client_of(str(address)) == client_of(f"::ffff:{address}") == str(address)


@given(st.text(max_size=40))
def test_no_address_is_too_strange(text):
    client_of(text)


@pytest.mark.parametrize("path", ["/", "/healthz", "/nothing", "/api/v1/status"])
def test_a_client_that_asks_too_often_is_told_when_to_come_back(path):
    with visit(limits=Limits(requests_per_s=0.5, burst=3)) as found:
        answers = [found.client.get(path) for _ in range(5)]
        assert all(answer.status_code != 429 for answer in answers[:3])
        assert [answer.status_code for answer in answers[3:]] == [429, 429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 3
        assert answers[-1].json()["error"]["kind"] == "rate"
