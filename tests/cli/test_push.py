"""`sel-edge push`: what one device has learned, on a board."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import Domain
from sel_edge.bundle.keys import open_key
from sel_edge.gateway.target import board_network
from sel_edge.mcu.payload import difference
from sel_edge.runtime.deltas import between
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.slots import KEY_FILE
from tests.cli.boards import NAME, NOWHERE, Call, deploy, key
from tests.gateway.worlds import make_bundle, runs, tilted
from tests.link.boards import Board, talking

HEAD = "fc.weight"
FRAMES = list(tilted(4, seed=5)[0])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("push"))


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path / "flash") as board:
        yield board


class Learner:
    """The state directory of a device that has learned something.

    Attributes:
        network: what it has learned: a row that all domains share.
        elsewhere: the same with a domain.
        delta, next: files of the deltas that lead to these.
    """

    def __init__(self, state: Path, bundle: Bundle) -> None:
        own = bundle_network(bundle)
        row = np.ones((1, own.head.weight.shape[1]), np.float32)
        self.network: Network = own.with_rows({HEAD: (np.array([1]), row)})
        domain = Domain(np.zeros(2, np.float32), 32, rows={HEAD: (np.array([0]), -row)})
        self.elsewhere = self.network.with_domains({1: domain})
        folder, secret = state / "slots" / "deltas", open_key(state / KEY_FILE)
        folder.mkdir(parents=True)
        self.delta, self.next = folder / "1.delta", folder / "2.delta"
        self.delta.write_bytes(between(own, self.network, 1, 10).signed(secret))
        self.next.write_bytes(between(self.network, self.elsewhere, 2, 20).signed(secret))


@pytest.fixture
def learner(tmp_path: Path, bundle: Bundle) -> Learner:
    return Learner(tmp_path / "learner", bundle)


@pytest.fixture
def options(bundle: Bundle, tmp_path: Path) -> list[object]:
    return ["--bundle", bundle.path, "--state", tmp_path / "boards", *key(tmp_path)]


def test_a_board_runs_what_was_learned_elsewhere(
    call: Call,
    board: Board,
    bundle: Bundle,
    learner: Learner,
    options: list[object],
    tmp_path: Path,
) -> None:
    deploy(call, board, bundle, tmp_path)
    done = call("push", learner.delta, board.port, *options)
    assert done.code == 0 and f"The board {NAME} runs the network" in done.out
    target = board_network(bundle.mcu_image(), learner.network)
    with talking(board.port) as client:
        assert runs(client, target, FRAMES)
        assert client.status().network.hex()[:12] in done.out
    done = call("push", learner.delta, board.port, *options)
    assert done.code == 0 and done.out == f"The board {NAME} runs that network already.\n"
    done = call("push", learner.delta, board.port, *options, "--json")
    assert json.loads(done.out) == {"device": NAME, "delivery": None}


def test_a_domain_has_to_be_named_and_only_what_differs_is_sent(
    call: Call,
    board: Board,
    bundle: Bundle,
    learner: Learner,
    options: list[object],
    tmp_path: Path,
) -> None:
    deploy(call, board, bundle, tmp_path)
    image = bundle.mcu_image()
    assert call("push", learner.delta, board.port, *options).code == 0
    done = call("push", learner.next, board.port, *options)
    assert done.code == 6
    done.says("(configuration)", "the domains 0, 1", "--domain")
    done = call("push", learner.next, board.port, *options, "--domain", 2)
    assert done.code == 4
    done.says("(bundle)", "no domain 2", "0, 1")
    before = board_network(image, learner.network)
    target = board_network(image, learner.elsewhere, 1)
    done = call("push", learner.next, board.port, *options, "--domain", 1, "--json")
    with talking(board.port) as client:
        assert json.loads(done.out)["delivery"] == {
            "network": client.status().network.hex(),
            "payload_bytes": len(difference(before, target)),
            "counter": 2,
        }
        assert runs(client, target, FRAMES)


def test_a_delta_without_a_known_signer_is_refused(
    call: Call,
    board: Board,
    bundle: Bundle,
    learner: Learner,
    options: list[object],
    tmp_path: Path,
) -> None:
    deploy(call, board, bundle, tmp_path)
    moved = tmp_path / "usb" / "one.delta"
    moved.parent.mkdir()
    shutil.copy(learner.delta, moved)
    done = call("push", moved, board.port, *options)
    assert done.code == 6
    done.says("(configuration)", "signed", "--signed-by")
    open_key(tmp_path / "stranger.pem")
    done = call("push", moved, NOWHERE, *options, "--signed-by", tmp_path / "stranger.pub.pem")
    assert done.code == 4
    done.says("(bundle)")
    signer = ["--signed-by", tmp_path / "learner" / "key.pub.pem"]
    assert call("push", moved, board.port, *options, *signer).code == 0


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [(None, 6, "There is no delta"), (b"", 4, "delta"), (b"x" * 5000, 4, "delta")],
)
def test_a_file_that_is_no_delta_is_refused(
    call: Call,
    learner: Learner,
    options: list[object],
    content: bytes | None,
    code: int,
    words: str,
) -> None:
    path = learner.delta.with_name("new.delta")
    if content is not None:
        path.write_bytes(content)
    done = call("push", path, NOWHERE, *options)
    assert done.code == code
    done.says(words)


def test_a_board_that_cannot_take_it_is_left_as_it_is(
    call: Call,
    board: Board,
    bundle: Bundle,
    learner: Learner,
    options: list[object],
    tmp_path: Path,
) -> None:
    done = call("push", learner.delta, board.port, *options)
    assert done.code == 6
    done.says("no model image", "sel-edge deploy")
    other = make_bundle(tmp_path, "--class-room", 5)
    deploy(call, board, other, tmp_path)
    done = call("push", learner.delta, board.port, *options)
    assert done.code == 6
    done.says(other.mcu_image().hash[:12], bundle.mcu_image().hash[:12])
    deploy(call, board, bundle, tmp_path)
    done = call("push", learner.delta, board.port, *options, "--key", tmp_path / "other.key")
    assert done.code == 11
    done.says("wrong MAC")
    with talking(board.port) as client:
        assert client.status().network.hex() == bundle.mcu_image().hash


def test_nothing_is_kept_inside_the_bundle(
    call: Call, bundle: Bundle, learner: Learner, tmp_path: Path
) -> None:
    options = ["--bundle", bundle.path, "--state", bundle.path / "boards", *key(tmp_path)]
    done = call("push", learner.delta, NOWHERE, *options)
    assert done.code == 6
    done.says("lies inside the bundle")
