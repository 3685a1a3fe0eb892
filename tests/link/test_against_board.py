"""The client against the real firmware, built for this machine: over TCP, a pty, and bad lines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from sel_edge.core.errors import LinkError, RefusedError
from sel_edge.link.client import Client
from sel_edge.link.messages.hello import Ability
from sel_edge.link.messages.sample import Form
from sel_edge.mcu.image import Image
from sel_edge.mcu.keys import device_key
from sel_edge.mcu.manifest import TO_IMAGE, Manifest, delta_manifest, rollback_manifest
from sel_edge.mcu.payload import difference
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import Running, running
from tests.link.boards import Board, talking
from tools.mcu_bench.line import Faults, Line
from tools.small_network import CHANNELS, SIDE, changed, small_image

HOST_KEY = bytes(range(32))
KEY = device_key(HOST_KEY, b"simboard")
IMAGE = small_image(width=64)
FIRST = running(IMAGE)
FAST_BAUD = 921_600
PROOF = pytest.mark.proof
SEEDS = [0, *(pytest.param(seed, marks=PROOF) for seed in range(1, 10))]
"""One seed each time, the others with the slow proofs."""


def delta(before: Running, after: Running, base: str, counter: int) -> tuple[Manifest, bytes]:
    """The manifest and payload between two networks; `base` is the hash of the first."""
    payload = difference(before, after)
    return delta_manifest(base, payload, counter), payload


def frames(seed: int, count: int = 3) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, SIDE, SIDE, CHANNELS), dtype=np.uint8)


def check_runs(client: Client, network: Running, seed: int = 0) -> None:
    """The board answers as the reference says that this network does, bit for bit."""
    expected = infer(network, frames(seed))
    for number, frame in enumerate(frames(seed)):
        answer = client.infer(frame.tobytes(), features=True, logits=True)
        assert answer.logits == tuple(expected.logits[number])
        assert answer.features == expected.features[number].tobytes()
        assert (answer.label, answer.uncertainty, answer.embarrassment) == (
            expected.labels[number],
            expected.uncertainty[number],
            expected.embarrassment[number],
        )


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board with a key and an image."""
    with Board(tmp_path / "flash") as board:
        set_up(board)
        yield board


def set_up(board: Board, image: Image = IMAGE) -> None:
    with talking(board.port) as client:
        client.provision(KEY)
        client.install(image.content, KEY)


@pytest.mark.parametrize("line", ["tcp", "pty"])
def test_a_board_from_its_first_start_to_a_rollback(tmp_path: Path, line: str) -> None:
    after = changed(FIRST, 1)
    manifest, payload = delta(FIRST, after, IMAGE.hash, 1)
    with Board(tmp_path / "flash", line) as board, talking(board.port) as client:
        assert Ability.HAS_KEY not in Ability(client.hello().abilities)
        client.provision(device_key(HOST_KEY, client.hello().device_id))
        assert client.install(IMAGE.content, KEY).image.hex() == IMAGE.hash
        abilities = Ability.HAS_KEY | Ability.HAS_IMAGE
        assert Ability(client.hello().abilities) & abilities == abilities
        check_runs(client, FIRST)
        assert client.push(manifest, payload, KEY).network.hex() == manifest.after
        check_runs(client, after)
        client.reboot()
        check_runs(client, after)
        back = rollback_manifest(manifest.after, IMAGE.hash, 2, TO_IMAGE)
        assert client.rollback(back, KEY).network.hex() == IMAGE.hash
        assert client.rollback(back, KEY).counter == 2
        check_runs(client, FIRST)
        assert "rolled back" in client.log()


def test_samples_come_with_the_frame_and_the_time(board: Board) -> None:
    with talking(board.port) as client:
        client.set_time(1_000_000)
        client.set_sampling(0, per_minute=600, form=Form.FRAME)
        for frame in frames(5):
            client.infer(frame.tobytes(), observe=True)
        samples = list(client.samples())
        assert [sample.content for sample in samples] == [frame.tobytes() for frame in frames(5)]
        assert all(1_000_000 <= sample.time_ms < 1_000_000 + 60_000 for sample in samples)
        assert list(client.samples()) == [] and client.status().frames == 3


def test_what_a_board_refuses_and_what_it_tells(board: Board) -> None:
    manifest, payload = delta(FIRST, changed(FIRST, 1), IMAGE.hash, 5)
    again, other = delta(FIRST, changed(FIRST, 2), IMAGE.hash, 6)
    stale = delta_manifest(manifest.after, payload, 5)
    with talking(board.port) as client:
        with pytest.raises(RefusedError, match="wrong MAC"):
            client.push(manifest, payload, bytes(32))
        with pytest.raises(RefusedError, match="wrong MAC"):
            client.provision(bytes(32))
        client.push(manifest, payload, KEY)
        with pytest.raises(RefusedError) as found:
            client.push(again, other, KEY)
        assert found.value.fields == {"network": manifest.after}
        with pytest.raises(RefusedError) as found:
            client.push(stale, payload, KEY)
        assert (found.value.name, found.value.fields) == ("stale counter", {"counter": 5})
        assert client.status().network.hex() == manifest.after


def test_a_payload_that_is_not_the_manifests_is_never_in_use(board: Board) -> None:
    manifest, payload = delta(FIRST, changed(FIRST, 1), IMAGE.hash, 1)
    spoiled = payload[:-1] + bytes([payload[-1] ^ 1])
    with talking(board.port) as client:
        with pytest.raises(RefusedError):
            client.push(manifest, spoiled, KEY)
        assert client.status().network.hex() == IMAGE.hash
        client.push(manifest, payload, KEY)


@pytest.mark.parametrize("chunk", [0, 3, *(pytest.param(n, marks=PROOF) for n in (1, 2, 4))])
def test_power_cuts_between_chunks_of_a_delta_and_an_image(tmp_path: Path, chunk: int) -> None:
    """What had arrived before the cut is not sent again."""
    image = small_image(width=96)
    after = changed(running(image), 1)
    manifest, payload = delta(running(image), after, image.hash, 1)
    cuts = [chunk]
    told: list[int] = []

    def cut(arrived: int, total: int) -> None:
        told.append(arrived)
        if cuts and arrived >= cuts[0] * 1024:
            cuts.clear()
            board.cut_power()

    with Board(tmp_path / "flash") as board, talking(board.port) as client:
        client.provision(KEY)
        client.install(image.content, KEY, cut)
        assert told == sorted(told) and told[-1] == len(image.content) and not cuts
        cuts.append(chunk)
        told.clear()
        assert client.push(manifest, payload, KEY, cut).network.hex() == manifest.after
        assert told == sorted(told) and not cuts
        check_runs(client, after)


@pytest.mark.parametrize("seed", SEEDS)
def test_power_cuts_at_any_time(tmp_path: Path, seed: int) -> None:
    """The board is killed again and again while deltas go over a slow line."""
    rng, is_over = Random(seed), threading.Event()  # noqa: S311
    networks, base = [FIRST, *(changed(FIRST, number) for number in range(1, 7))], IMAGE.hash

    def cut(board: Board) -> None:
        while not is_over.wait(rng.uniform(0.02, 0.25)):
            board.cut_power()

    with Board(tmp_path / "flash") as board:
        set_up(board)
        with Line(board.port, FAST_BAUD) as line, talking(line.port) as client:
            cutter = threading.Thread(target=cut, args=(board,))
            cutter.start()
            try:
                for number in range(1, len(networks)):
                    manifest, payload = delta(*networks[number - 1 : number + 1], base, number)
                    status = client.push(manifest, payload, KEY)
                    base = manifest.after
                    assert status.network.hex() == base
            finally:
                is_over.set()
                cutter.join()
            check_runs(client, networks[-1])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bad_line_ends_in_success_or_a_typed_error(board: Board, seed: int) -> None:
    """One byte in a thousand is lost, doubled, swapped, changed or late; no network is wrong."""
    image = small_image(width=16)
    base, network, counter = image.hash, running(image), 0
    faults = Faults.of_all_kinds(1e-3)
    with talking(board.port) as client:
        client.install(image.content, KEY)
    for step in range(3):
        after = changed(network, 100 * seed + step)
        manifest, payload = delta(network, after, base, counter + 1)
        succeeded = False
        with (
            Line(board.port, FAST_BAUD, faults, 10 * seed + step) as line,
            talking(line.port, timeout_s=8.0) as client,
        ):
            try:
                client.push(manifest, payload, KEY)
                succeeded = True
                check_runs(client, after)
            except LinkError:
                pass
        with talking(board.port) as client:
            found = client.status().network.hex()
            assert found in ({manifest.after} if succeeded else {base, manifest.after})
            if found == manifest.after:
                base, network, counter = found, after, counter + 1
            check_runs(client, network)


def test_a_line_that_is_worse_than_that_ends_in_a_typed_error(board: Board) -> None:
    manifest, payload = delta(FIRST, changed(FIRST, 1), IMAGE.hash, 1)
    with (
        Line(board.port, FAST_BAUD, Faults.of_all_kinds(0.05)) as line,
        talking(line.port, timeout_s=1.0) as client,
        pytest.raises(LinkError),
    ):
        client.push(manifest, payload, KEY)
    with talking(board.port) as client:
        assert client.status().network.hex() == IMAGE.hash
        check_runs(client, FIRST)
