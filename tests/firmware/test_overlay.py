"""The overlay store beyond `test_overlay_rules`: damage, refusals, wear, other images."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import zlib
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.mcu.manifest import TO_IMAGE, delta_manifest, rollback_manifest
from sel_edge.mcu.payload import difference
from tests.firmware.overlay_reader import MOST_SEGMENTS, read_overlay
from tests.firmware.rig import CHUNK_BYTES, Rig, Status
from tools.powercut_scenarios import (
    CONV,
    HEAD,
    WIDTH,
    Action,
    Host,
    Step,
    board_image,
    content_of,
    rescaled,
    rewritten,
)

IMAGE = board_image()
FLIPS = st.integers(1, 255)


def done(rig: Rig, host: Host) -> None:
    """Let a board do all that a host did."""
    assert [rig.step(step) for step in host.steps] == [Status.OK] * len(host.steps)


def large_host() -> Host:
    """One delta of two chunks, which is not begun yet."""
    host = Host(IMAGE)
    host.push(rewritten(host.network, 1, CONV))
    return host


def chunks_of(step: Step) -> list[tuple[int, bytes]]:
    starts = range(0, len(step.content), CHUNK_BYTES)
    return [(at, step.content[at : at + CHUNK_BYTES]) for at in starts]


@cache
def three_deltas() -> Host:
    host = Host(IMAGE)
    for seed in range(3):
        host.push(rewritten(rescaled(host.network, seed), seed, CONV, slice(seed, None, 4)))
    return host


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 8191), flips=FLIPS)
def test_a_damaged_overlay_is_never_executed(at, flips):
    host = three_deltas()
    with Rig(IMAGE) as rig:
        done(rig, host)
        used = rig.state().end
        rig.damage(rig.state().area, at % used, flips)
        rig.start()
        networks = dict(host.networks)
        found = bytes(rig.state().hash).hex()
        assert rig.content() == content_of(networks[found])
        assert rig.state().counter <= len(host.steps)
        assert found == read_overlay(rig.areas(), IMAGE).hash.hex()


def test_after_damage_the_next_delta_goes_to_the_other_area():
    host = three_deltas()
    with Rig(IMAGE) as rig:
        done(rig, host)
        second = rig.areas()[0].find(host.steps[1].manifest)
        rig.damage(0, second + 256 + 100, 1)
        rig.start()
        assert (rig.state().is_damaged, rig.state().depth, rig.state().counter) == (1, 1, 3)
        name, network = host.networks[1]
        new = rewritten(network, 9, HEAD)
        payload = difference(network, new)
        assert rig.begin(delta_manifest(name, payload, 3).to_bytes())[0] == Status.STALE_COUNTER
        manifest = delta_manifest(name, payload, 4).to_bytes()
        assert rig.step(Step(Action.PUSH, manifest, payload, len(payload))) == Status.OK
        assert (rig.state().area, rig.state().is_damaged) == (1, 0)
        rig.start()
        assert (rig.state().area, rig.state().is_damaged) == (1, 0)
        assert rig.content() == content_of(new)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_content_of_the_areas_ends_in_a_known_network(data):
    host = three_deltas()
    known = {name: content_of(network) for name, network in host.networks}
    with Rig(IMAGE) as rig:
        done(rig, host)
        for _ in range(data.draw(st.integers(1, 40))):
            rig.damage(
                data.draw(st.integers(0, 1)), data.draw(st.integers(0, 3000)), data.draw(FLIPS)
            )
        rig.start()
        assert rig.content() == known[bytes(rig.state().hash).hex()]


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(0, 2**30 - 1).map(lambda words: 4 * words) | st.integers(0, 2**13),
    kind_depth=st.sampled_from([(1, 0), (2, 0), (2, 0), (1, 1), (3, 1), (3, TO_IMAGE), (4, 0)]),
    counter=st.integers(0, 2**64 - 1),
)
def test_impossible_segments_close_the_area_and_nothing_more(size, kind_depth, counter):
    """They are sealed with a right CRC, as if the host's key had signed them."""
    host = Host(IMAGE)
    host.push(rescaled(host.network, 1))
    manifest = struct.pack("<4sHHIIQI", b"SELG", 1, kind_depth[0], size, kind_depth[1], counter, 0)
    rest = bytes.fromhex(host.networks[-1][0]) + bytes(64)
    manifest += struct.pack("<I", zlib.crc32(manifest + rest)) + rest
    with Rig(IMAGE) as rig:
        done(rig, host)
        for offset, byte in enumerate(manifest):
            rig.damage(0, rig.state().end + offset, byte ^ 0xFF)
        rig.start()
        assert rig.content() == content_of(host.network)
        assert rig.state().counter == 1
        host.push(rewritten(host.network, 2, HEAD))
        done(rig, host)
        rig.start()
        assert rig.content() == content_of(host.network)


def test_the_stack_never_gets_too_deep():
    host = Host(IMAGE)
    for seed in range(MOST_SEGMENTS + 10):
        host.push(rescaled(host.network, seed, slice(seed % WIDTH, seed % WIDTH + 1)))
    with Rig(IMAGE, area_bytes=65536) as rig:
        for step, (_, network) in zip(host.steps, host.networks[1:], strict=True):
            assert rig.step(step) == Status.OK
            assert rig.state().depth <= MOST_SEGMENTS
            assert rig.content() == content_of(network)
        rig.start()
        assert rig.content() == content_of(host.network)


def test_a_delta_that_is_not_complete_is_not_kept_and_can_be_gone_on_with():
    step = large_host().steps[0]
    (first, data), (second, rest) = chunks_of(step)
    with Rig(IMAGE) as rig:
        assert rig.write(first, data) == Status.INCOMPLETE
        assert rig.begin(step.manifest)[0] == Status.OK
        assert rig.write(second, rest) == Status.OK
        assert rig.commit(step.manifest) == Status.INCOMPLETE
        rig.start()
        assert rig.begin(step.manifest)[0] == Status.OK
        assert rig.chunk(0) == zlib.crc32(b"\xff" * CHUNK_BYTES)
        assert rig.chunk(1) == zlib.crc32(rest)
        operations = rig.operations
        assert rig.write(second, rest) == Status.OK
        assert rig.operations == operations
        assert rig.write(first, data) == Status.OK
        assert rig.commit(step.manifest) == Status.OK
        assert rig.commit(step.manifest) == Status.OK


def test_chunks_of_another_place_or_size_are_refused():
    step = large_host().steps[0]
    (_, data), (second, rest) = chunks_of(step)
    with Rig(IMAGE) as rig:
        rig.begin(step.manifest)
        wrong = [(4, data), (0, data[:-4]), (second, data), (second, rest[:-1]), (2048, rest)]
        wrong += [(0xFFFFFC00, data), (0, b"")]
        assert {rig.write(at, content) for at, content in wrong} == {Status.MALFORMED}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000))
def test_wrong_bytes_in_flash_are_not_programmed_over(seed):
    """Whoever can send data without a key can spoil a delta, but the next begin puts it right."""
    step = large_host().steps[0]
    (first, data), (second, rest) = chunks_of(step)
    garbage = np.random.default_rng(seed).bytes(CHUNK_BYTES)
    with Rig(IMAGE) as rig:
        rig.begin(step.manifest)
        assert rig.write(first, garbage) == Status.OK
        assert rig.write(second, rest) == Status.OK
        assert rig.commit(step.manifest) == Status.INCOMPLETE
        rig.start()
        rig.begin(step.manifest)
        assert rig.write(first, data) == Status.INCOMPLETE
        assert rig.step(step) == Status.OK
        assert rig.violations == 0


def test_a_payload_that_does_harm_is_refused_and_the_network_stays():
    host = Host(IMAGE)
    payload = bytearray(difference(host.network, rescaled(host.network, 1)))
    payload[12] = 31  # the first channel's shift
    step = delta_step(IMAGE.hash, bytes(payload), 1)
    with Rig(IMAGE) as rig:
        assert rig.step(step) == Status.PAYLOAD_REFUSED
        rig.start()
        assert (bytes(rig.state().hash).hex(), rig.state().counter) == (IMAGE.hash, 0)


def test_a_manifest_that_promises_another_network_is_not_kept():
    step = large_host().steps[0]
    manifest = delta_manifest(IMAGE.hash, step.content, 1)
    wrong = dataclasses.replace(manifest, after="11" * 32).to_bytes()
    with Rig(IMAGE) as rig:
        assert rig.step(dataclasses.replace(step, manifest=wrong)) == Status.INCOMPLETE
        rig.start()
        assert bytes(rig.state().hash).hex() == IMAGE.hash


def test_every_bit_of_a_manifest_counts():
    step = large_host().steps[0]
    with Rig(IMAGE) as rig:
        for bit in range(8 * len(step.manifest)):
            wrong = bytearray(step.manifest)
            wrong[bit // 8] ^= 1 << bit % 8
            assert rig.begin(bytes(wrong))[0] == Status.MALFORMED
        assert rig.operations == 0


def test_a_delta_that_does_not_fit_is_refused_with_numbers_before_anything_is_erased():
    payload = large_host().steps[0].content * 4
    manifest = delta_manifest(IMAGE.hash, payload, 1).to_bytes()
    with Rig(IMAGE, area_bytes=4096) as rig:
        needed = 512 + -(-len(payload) // 256) * 256 + 512
        assert rig.begin(manifest) == (Status.FULL, needed, 4096 - 256)
        assert rig.operations == 0


def test_there_is_room_to_go_back_from_every_full_area():
    host = Host(IMAGE)
    for seed in range(40):
        change = rewritten(host.network, seed, CONV if seed % 3 else HEAD, slice(seed % 2, None, 2))
        host.push(change)
    with Rig(IMAGE, area_bytes=4096) as rig:
        for step in host.steps:
            assert rig.step(step) == Status.OK
            found = read_overlay(rig.areas(), IMAGE)
            with Rig(IMAGE, area_bytes=4096) as other:
                other.take_flash(rig)
                other.start()
                goes_back_to_the_image(other, [name.hex() for name, _ in found.networks])


def test_an_area_that_something_else_has_filled_is_not_gone_back_from_to_a_wrong_network():
    """This store leaves room for a rollback; without it only the top could be kept."""
    host = Host(IMAGE)
    host.push(rewritten(host.network, 1, CONV))
    host.push(rewritten(rewritten(host.network, 2, CONV), 2, HEAD))
    name, network = host.networks[-1]
    host.go_back(1)
    with Rig(IMAGE, area_bytes=4096) as rig:
        write_area(rig, host.steps[:2])
        rig.start()
        assert rig.content() == content_of(network)
        assert rig.step(host.steps[2]) == Status.FULL
        assert (bytes(rig.state().hash).hex(), rig.content()) == (name, content_of(network))


def write_area(rig: Rig, deltas: list[Step]) -> None:
    """Put deltas into a blank area as docs/SPEC.md says."""
    header = struct.pack("<4sHHIIQ32s", b"SELA", 1, 0, 1, 1, 0, bytes.fromhex(IMAGE.hash))
    area = sealed(header).ljust(256, b"\xff")
    for step in deltas:
        record = b"SELC" + bytes(4) + hashlib.sha256(step.manifest).digest()
        for part in (step.manifest, step.content, sealed(record)):
            area += part + b"\xff" * (-len(part) % 256)
    for at, byte in enumerate(area):
        rig.damage(0, at, byte ^ 0xFF)


def sealed(content: bytes) -> bytes:
    return content + struct.pack("<I", zlib.crc32(content))


def goes_back_to_the_image(rig: Rig, names: list[str]) -> None:
    """One network after the other."""
    while len(names) > 1:
        before = names.pop()
        counter = rig.state().counter + 1
        manifest = rollback_manifest(before, names[-1], counter, 1).to_bytes()
        assert rig.step(Step(Action.GO_BACK, manifest, b"", 0)) == Status.OK
        assert bytes(rig.state().hash).hex() == names[-1]


def test_an_area_is_made_invalid_before_it_is_erased():
    """A sector that was half erased may look whole at one start and not at the next."""
    host = Host(IMAGE)
    with Rig(IMAGE) as rig, Rig(IMAGE) as before, Rig(IMAGE) as cut:
        while rig.state().sequence < 3:
            before.take_flash(rig)
            host.push(rewritten(host.network, len(host.steps), CONV))
            assert rig.step(host.steps[-1]) == Status.OK
        stale = rig.state().area
        whole = before.areas()[stale]
        for number in range(200):
            cut.take_flash(before)
            cut.start()
            cut.cut(1 + number % 2, share=0.5, seed=number)
            assert cut.step(host.steps[-1]) == Status.FLASH_FAULT
            left = cut.areas()[stale]
            assert left[64:] == whole[64:] or left[:60] != whole[:60]


def test_wear_is_counted_and_survives():
    host = Host(IMAGE)
    with Rig(IMAGE, area_bytes=4096) as rig:
        for seed in range(30):
            host.push(rewritten(host.network, seed, CONV, slice(0, 12)))
            assert rig.step(host.steps[-1]) == Status.OK
        assert rig.state().erases == rig.erases > 5
        rig.start()
        assert rig.state().erases == rig.erases


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.tuples(st.integers(1, 12), st.floats(0, 1)), max_size=12))
def test_wear_is_not_forgotten_in_power_cuts(cuts):
    host = Host(IMAGE)
    with Rig(IMAGE, area_bytes=4096) as rig:
        for seed, (at, share) in enumerate(cuts):
            host.push(rewritten(host.network, seed, CONV, slice(0, 12)))
            rig.cut(at, share, seed=seed)
            rig.step(host.steps[-1])
            rig.start()
            assert rig.step(host.steps[-1]) == Status.OK
            assert rig.state().erases >= rig.erases - 1 - seed


def test_the_overlay_of_another_image_is_ignored_and_its_counter_is_not_forgotten():
    other = board_image(5)
    host = three_deltas()
    with Rig(IMAGE) as rig, Rig(other) as new:
        done(rig, host)
        new.take_flash(rig)
        new.start()
        state = new.state()
        assert (bytes(state.hash).hex(), state.counter, state.depth) == (other.hash, 3, 0)
        later = Host(other)
        later.push(rescaled(later.network, 1))
        assert new.step(later.steps[0]) == Status.STALE_COUNTER
        payload = later.steps[0].content
        assert new.step(delta_step(other.hash, payload, 4)) == Status.OK
        new.start()
        assert new.content() == content_of(later.network)
        rig.take_flash(new)
        rig.start()
        assert (bytes(rig.state().hash).hex(), rig.state().counter) == (IMAGE.hash, 4)


def delta_step(before: str, payload: bytes, counter: int) -> Step:
    manifest = delta_manifest(before, payload, counter).to_bytes()
    return Step(Action.PUSH, manifest, payload, len(payload))
