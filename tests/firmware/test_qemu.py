"""The real firmware on an emulated board: the whole link, restarts, and a power that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from sel_edge.core.errors import LinkError, MissingDependencyError, RefusedError
from sel_edge.link.client import Client
from sel_edge.link.messages.refusal import Refusal
from sel_edge.link.messages.status import Fault
from sel_edge.link.transport import LineTransport
from sel_edge.mcu.manifest import TO_IMAGE, Manifest, delta_manifest, rollback_manifest
from sel_edge.mcu.payload import difference
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import Running, running
from tests.tools_needed import missing_tool
from tools.mcu_bench.counting import FAST, PLAIN, answer, count_instructions
from tools.mcu_bench.emulator import EmulatedBoard, check_tools, make_flash
from tools.small_network import SIDE, changed, small_image

KEY = bytes(range(32))
IMAGE, WIDE = small_image(), small_image(width=256)
FRAMES = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), np.uint8)
KILLS = 40


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """Compiler and emulator, or a line that says what to install."""
    try:
        check_tools()
    except MissingDependencyError as error:
        missing_tool(str(error))


@contextmanager
def talk(board: EmulatedBoard, timeout_s: float = 60.0) -> Iterator[Client]:
    line = LineTransport(board.url)
    try:
        yield Client(line, timeout_s)
    finally:
        line.close()


@pytest.fixture
def flash(tmp_path: Path) -> Path:
    """Of a board that has its key and an image."""
    path = tmp_path / "flash"
    with EmulatedBoard(path) as board, talk(board) as client:
        client.provision(KEY)
        client.install(IMAGE.content, KEY)
    return path


def change(
    network: Running, seed: int, before: str, counter: int
) -> tuple[Running, Manifest, bytes]:
    """A delta on a network: the network afterwards, manifest and payload."""
    after = changed(network, seed)
    payload = difference(network, after)
    return after, delta_manifest(before, payload, counter), payload


def runs(client: Client, network: Running) -> None:
    """The board answers for some frames as the reference does for the network."""
    expected = infer(network, FRAMES)
    for number, frame in enumerate(FRAMES):
        told = client.infer(frame.tobytes(), logits=True, features=True)
        assert told.logits == tuple(expected.logits[number])
        assert told.features == expected.features[number].tobytes()
        assert told.label == expected.labels[number]
        assert told.uncertainty == expected.uncertainty[number]
        assert told.embarrassment == expected.embarrassment[number]


def test_a_new_board_takes_a_key_once_and_an_image(tmp_path: Path) -> None:
    path = tmp_path / "flash"
    make_flash(path, b"board 07")
    with EmulatedBoard(path) as board, talk(board) as client:
        assert client.hello().device_id == b"board 07"
        with pytest.raises(RefusedError) as refusal:
            client.install(IMAGE.content, KEY)
        assert refusal.value.status == Refusal.NO_KEY
        client.provision(KEY)
        with pytest.raises(RefusedError) as refusal:
            client.provision(KEY[::-1])
        assert refusal.value.status == Refusal.WRONG_MAC
        status = client.install(IMAGE.content, KEY)
        assert status.image.hex() == status.network.hex() == IMAGE.hash
        runs(client, running(IMAGE))


def test_deltas_survive_restarts_and_are_undone(flash: Path) -> None:
    network = running(IMAGE)
    first, manifest, payload = change(network, 1, IMAGE.hash, 1)
    second, other, more = change(first, 2, manifest.after, 2)
    with EmulatedBoard(flash) as board:
        with talk(board) as client:
            client.push(manifest, payload, KEY)
            client.push(other, more, KEY)
            runs(client, second)
            client.reboot()
            runs(client, second)
        board.kill()
        board.start()
        with talk(board) as client:
            assert client.status().network.hex() == other.after
            back = rollback_manifest(other.after, manifest.after, 3, 1)
            client.rollback(back, KEY)
            runs(client, first)
            client.rollback(rollback_manifest(manifest.after, IMAGE.hash, 4, TO_IMAGE), KEY)
            client.reboot()
            runs(client, network)
            with pytest.raises(RefusedError) as refusal:
                client.push(manifest, payload, KEY)
            assert refusal.value.status == Refusal.STALE_COUNTER


def test_no_nonce_comes_twice_and_the_clock_runs_from_when_it_was_set(flash: Path) -> None:
    nonces = set()
    with EmulatedBoard(flash) as board:
        for _ in range(3):
            with talk(board) as client:
                assert client.status().time_ms == 0
                client.set_time(1_750_000_000_000)
                status = client.status()
                assert 1_750_000_000_000 <= status.time_ms < 1_750_000_000_000 + 60_000
                nonces.add(status.nonce)
            board.kill()
            board.start()
    assert len(nonces) == 3


def test_both_kernels_agree_with_the_reference_on_the_emulated_core() -> None:
    expected = infer(running(IMAGE), FRAMES)
    for kernels in (FAST, PLAIN):
        told = answer(IMAGE.content, FRAMES, kernels)
        assert np.array_equal(told.logits, expected.logits)
        assert np.array_equal(told.labels, expected.labels)
        assert np.array_equal(told.uncertainty, expected.uncertainty)
        assert np.array_equal(told.embarrassment, expected.embarrassment)


def test_counted_instructions_repeat_exactly() -> None:
    cost = count_instructions(IMAGE.content, FRAMES[0])
    assert cost == count_instructions(IMAGE.content, FRAMES[0])
    assert cost.fast < cost.plain
    assert [layer.multiply_adds for layer in cost.layers] == [4 * 64 * 27, 0, 5 * 4]
    assert sum(layer.fast for layer in cost.layers) < cost.fast


def cut(board: EmulatedBoard, after_s: float, work: Callable[..., object], *told: object) -> None:
    """Call a method of the client of a board whose power goes after some time."""
    fuse = threading.Timer(after_s, board.kill)
    # Most of the time the board is gone before it is done.
    with talk(board, timeout_s=0.5) as client, suppress(LinkError):
        fuse.start()
        work(client, *told)
    fuse.join()


@pytest.mark.proof
def test_a_killed_emulator_leaves_the_old_or_the_new_network(flash: Path) -> None:
    """Deltas follow each other; each is cut at random times, and sent again until it is in use."""
    draw = np.random.default_rng(5)
    network, before = running(WIDE), WIDE.hash
    after, manifest, payload = change(network, 0, before, 1)
    board, kept = EmulatedBoard(flash), 0
    with board, talk(board) as client:
        client.install(WIDE.content, KEY)
    for kill in range(KILLS):
        with board:
            with talk(board) as client:
                status = client.status()
                assert status.network.hex() in (before, manifest.after)
                if status.network.hex() == manifest.after:
                    kept += 1
                    network, before = after, manifest.after
                    after, manifest, payload = change(network, kill, before, status.counter + 1)
                runs(client, network)
            cut(board, draw.uniform(0.0, 0.6), Client.push, manifest, payload, KEY)
    assert 0 < kept < KILLS


@pytest.mark.proof
def test_an_emulator_killed_at_an_installation_runs_an_image_or_none(flash: Path) -> None:
    draw = np.random.default_rng(6)
    board = EmulatedBoard(flash)
    images = (WIDE, IMAGE)
    for kill in range(KILLS // 2):
        image = images[kill // 4 % 2]
        with board:
            cut(board, draw.uniform(0.0, 0.6), Client.install, image.content, KEY)
        with board, talk(board) as client:
            status = client.status()
            if not status.faults:
                found = {other.hash: other for other in images}[status.image.hex()]
                runs(client, running(found))
            else:
                assert status.faults == Fault.NO_IMAGE
                with pytest.raises(RefusedError):
                    client.infer(FRAMES[0].tobytes())
    with board, talk(board) as client:
        client.install(IMAGE.content, KEY)
        runs(client, running(IMAGE))
