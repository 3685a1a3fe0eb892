"""The courier and a board: what differs goes over; whatever breaks off can be begun again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from sel_edge.core.errors import ConfigError, LinkError, NoAnswerError, RefusedError, StorageError
from sel_edge.gateway.courier import Courier, Delivery
from sel_edge.gateway.shelf import SENT, Shelf
from sel_edge.link.client import Client
from sel_edge.link.messages.rollback import RollbackRequest
from sel_edge.link.messages.status import StatusRequest
from sel_edge.mcu.keys import device_key
from sel_edge.mcu.manifest import network_hash
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import Running, running
from tests.gateway.worlds import runs
from tests.link.boards import Board, talking
from tests.link.peer import STATUS, Peer
from tools.small_network import CHANNELS, SIDE, changed, small_image

IMAGE = small_image(width=64)
FIRST = running(IMAGE)
KEY = device_key(bytes(range(32)), b"simboard")
FRAMES = list(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, CHANNELS), dtype=np.uint8))
CRASHES = (KeyboardInterrupt, NoAnswerError("gone", "", ""))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with Board(tmp_path_factory.mktemp("board") / "flash") as board:
        with talking(board.port) as client:
            client.provision(KEY)
        yield board


@pytest.fixture
def board(device: Board, tmp_path: Path) -> Board:
    """A board that runs the image alone."""
    with courier(device, tmp_path / "before") as (sender, client):
        client.install(IMAGE.content, KEY)
        sender.deliver(FIRST)
    return device


@contextmanager
def courier(board: Board, place: Path, key: bytes = KEY) -> Iterator[tuple[Courier, Client]]:
    """As a new process would open it."""
    with talking(board.port) as client:
        yield Courier(client, key, IMAGE, Shelf(place, IMAGE)), client


def crashing(method: Callable[..., Any], error: Any, is_done: bool) -> Callable[..., Any]:
    """The method, which breaks off before or after it has done its work."""

    def call(*arguments: Any) -> Any:
        if is_done:
            method(*arguments)
        raise error

    return call


def test_what_differs_goes_over_and_nothing_if_nothing_does(board: Board, tmp_path: Path) -> None:
    one, other = changed(FIRST, 1), changed(changed(FIRST, 1), 2, layers=(2,))
    with courier(board, tmp_path) as (sender, client):
        counter = client.status().counter
        assert sender.deliver(FIRST) is None and client.status().counter == counter
        assert not sender.is_running(one)
        first = sender.deliver(one)
        after = network_hash(IMAGE.hash, difference(FIRST, one))
        assert first == Delivery(after, len(difference(FIRST, one)), counter + 1)
        assert sender.is_running(one) and runs(client, one, FRAMES)
        assert sender.deliver(one) is None and client.status().counter == counter + 1
        second = sender.deliver(other)
        assert second is not None and second.payload_bytes == len(difference(one, other))
        assert second.payload_bytes < first.payload_bytes / 2
        assert runs(client, other, FRAMES)


def test_back_to_the_image_takes_no_payload(board: Board, tmp_path: Path) -> None:
    with courier(board, tmp_path) as (sender, client):
        sender.deliver(changed(FIRST, 1))
        found = sender.deliver(FIRST)
        assert found == Delivery(IMAGE.hash, 0, client.status().counter)
        assert runs(client, FIRST, FRAMES)


@pytest.mark.parametrize("target", [changed(FIRST, 2), FIRST])
def test_a_board_that_runs_what_nobody_here_sent_goes_back_first(
    board: Board, tmp_path: Path, target: Running
) -> None:
    with courier(board, tmp_path / "one host") as (sender, _):
        sender.deliver(changed(FIRST, 1))
    with courier(board, tmp_path / "another host") as (sender, client):
        found = sender.deliver(target)
        payload = difference(FIRST, target)
        expected = network_hash(IMAGE.hash, payload) if payload else IMAGE.hash
        assert found == Delivery(expected, len(payload), client.status().counter)
        assert runs(client, target, FRAMES)
        assert sender.deliver(target) is None


@pytest.mark.parametrize("error", CRASHES)
@pytest.mark.parametrize("is_done", [False, True])
def test_a_crash_around_the_push_costs_nothing(
    board: Board,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    is_done: bool,
) -> None:
    """The shelf knows the network already, whether the board has it or not; and if the board's last
    answer is lost, it is not sent again."""
    target = changed(FIRST, 1)
    with courier(board, tmp_path) as (sender, client), monkeypatch.context() as patch:
        counter = client.status().counter
        patch.setattr(client, "push", crashing(client.push, error, is_done))
        with pytest.raises((KeyboardInterrupt, NoAnswerError)):
            sender.deliver(target)
    with courier(board, tmp_path) as (sender, client):
        assert (sender.deliver(target) is None) == is_done
        assert client.status().counter == counter + 1 and runs(client, target, FRAMES)


@pytest.mark.parametrize("is_done", [False, True])
def test_a_crash_around_the_way_back_costs_nothing(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    with courier(board, tmp_path / "one host") as (sender, _):
        sender.deliver(changed(FIRST, 1))
    target = changed(FIRST, 2)
    with courier(board, tmp_path) as (sender, client), monkeypatch.context() as patch:
        patch.setattr(client, "rollback", crashing(client.rollback, KeyboardInterrupt, is_done))
        with pytest.raises(KeyboardInterrupt):
            sender.deliver(target)
    with courier(board, tmp_path) as (sender, client):
        found = sender.deliver(target)
        assert found is not None and found.payload_bytes == len(difference(FIRST, target))
        assert runs(client, target, FRAMES)


def test_a_cut_in_the_middle_is_gone_on_with(board: Board, tmp_path: Path) -> None:
    target = changed(FIRST, 1)
    arrived: list[int] = []

    def cut(there: int, _: int) -> None:
        arrived.append(there)
        if there >= 1024:
            raise KeyboardInterrupt

    with courier(board, tmp_path) as (sender, _), pytest.raises(KeyboardInterrupt):
        sender.deliver(target, cut)
    board.cut_power()
    arrived.clear()
    with courier(board, tmp_path) as (sender, client):
        sender.deliver(target, lambda there, _: arrived.append(there))
        assert arrived[0] >= 1024 and runs(client, target, FRAMES)


def test_whatever_happens_the_board_runs_what_was_delivered_last(
    board: Board, tmp_path: Path
) -> None:
    """Hosts without memory, hosts with an old one, power cuts, rollbacks by hand."""
    draw, places = Random(1), [tmp_path / "a", tmp_path / "b"]  # noqa: S311
    for step in range(12):
        target = draw.choice([FIRST, *(changed(FIRST, seed) for seed in range(3))])
        if draw.random() < 0.4:
            board.cut_power()
        with courier(board, draw.choice(places)) as (sender, client):
            sender.deliver(target)
            assert runs(client, target, FRAMES), step


def test_a_board_with_another_image_or_none_is_left_alone(board: Board, tmp_path: Path) -> None:
    other = small_image(seed=7)
    with talking(board.port) as client:
        client.install(other.content, KEY)
    with courier(board, tmp_path) as (sender, client):
        before = client.status().counter
        with pytest.raises(ConfigError) as found:
            sender.deliver(changed(FIRST, 1))
        assert other.hash[:12] in found.value.found and IMAGE.hash[:12] in found.value.expected
        assert client.status().counter == before
    says = pytest.raises(ConfigError, match=r"no model image.*sel-edge deploy")
    with Board(tmp_path / "new") as new, courier(new, tmp_path) as (sender, _), says:
        sender.is_running(FIRST)


def test_nothing_is_sent_that_cannot_be_written_down(board: Board, tmp_path: Path) -> None:
    (tmp_path / SENT).write_text("no folder")
    with courier(board, tmp_path) as (sender, client):
        with pytest.raises(StorageError):
            sender.deliver(changed(FIRST, 1))
        assert client.status().network.hex() == IMAGE.hash


def test_a_board_takes_nothing_under_another_key(board: Board, tmp_path: Path) -> None:
    with courier(board, tmp_path, key=bytes(32)) as (sender, client):
        with pytest.raises(RefusedError, match="wrong MAC"):
            sender.deliver(changed(FIRST, 1))
        assert client.status().network.hex() == IMAGE.hash


def test_a_counter_that_nothing_can_follow_is_refused(tmp_path: Path) -> None:
    status = replace(STATUS, image=bytes.fromhex(IMAGE.hash), counter=2**64 - 1)

    def script(request: Any) -> Any:
        return status if isinstance(request, StatusRequest) else None

    with Peer(script) as peer:
        with pytest.raises(LinkError, match="highest"):
            Courier(peer.client(), KEY, IMAGE, Shelf(tmp_path, IMAGE)).deliver(changed(FIRST, 1))
        assert peer.asked(RollbackRequest) == 0
