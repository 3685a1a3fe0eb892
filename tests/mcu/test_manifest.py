"""Manifests of segments, hashes of networks, and keys."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import BundleError
from sel_edge.mcu.keys import Purpose, device_key, mac
from sel_edge.mcu.manifest import (
    TO_IMAGE,
    Segment,
    delta_manifest,
    network_hash,
    parse_manifest,
    rollback_manifest,
)

BASE = hashlib.sha256(b"base").hexdigest()
COUNTERS = st.integers(0, 2**64 - 1)


@given(st.binary(max_size=40), COUNTERS)
def test_a_delta_is_read_as_it_was_written(payload: bytes, counter: int):
    manifest = delta_manifest(BASE, payload, counter)
    assert parse_manifest(manifest.to_bytes()) == manifest
    assert manifest.after == network_hash(BASE, payload)
    expected = b"sel-edge overlay 1\0" + bytes.fromhex(BASE) + payload
    assert manifest.after == hashlib.sha256(expected).hexdigest()
    assert manifest.payload_sha256 == hashlib.sha256(payload).hexdigest()


@pytest.mark.parametrize("depth", [1, TO_IMAGE])
def test_a_rollback_is_read_as_it_was_written(depth: int):
    manifest = rollback_manifest(BASE, network_hash(BASE, b""), 7, depth)
    assert parse_manifest(manifest.to_bytes()) == manifest
    assert (manifest.kind, manifest.payload_bytes) == (Segment.ROLLBACK, 0)


@given(st.integers(0, 8 * 128 - 1))
def test_every_flipped_bit_is_found(bit: int):
    content = bytearray(delta_manifest(BASE, b"payload.", 3).to_bytes())
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BundleError):
        parse_manifest(bytes(content))


@given(st.binary(max_size=130))
def test_other_bytes_are_refused(content: bytes):
    with pytest.raises(BundleError):
        parse_manifest(content)


def test_depths_belong_to_rollbacks():
    delta = delta_manifest(BASE, b"", 1)
    for wrong in (replace(delta, depth=1), replace(delta, kind=Segment.ROLLBACK)):
        with pytest.raises(BundleError, match="depth"):
            parse_manifest(wrong.to_bytes())


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=8, max_size=8))
def test_device_keys_are_those_of_rfc_5869(host: bytes, device: bytes):
    extracted = hmac.new(bytes(32), host, hashlib.sha256).digest()
    info = b"sel-edge device 1" + device + b"\1"
    assert device_key(host, device) == hmac.new(extracted, info, hashlib.sha256).digest()


def test_macs_tell_purposes_and_nonces_apart():
    key, nonce, manifest = bytes(32), bytes(16), bytes(128)
    found = {mac(key, purpose, nonce, manifest) for purpose in Purpose}
    found.add(mac(key, Purpose.BEGIN, b"\1" + nonce[1:], manifest))
    assert len(found) == len(Purpose) + 1
    assert all(len(purpose.value) == 16 for purpose in Purpose)
    one = b"sel-edge begin 1" + nonce + manifest
    assert mac(key, Purpose.BEGIN, nonce, manifest) == hmac.digest(key, one, "sha256")
