"""`sel-edge device`: what a board runs, how to undo it, and its samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.cli import device
from sel_edge.cli.main import run
from sel_edge.core.errors import NoAnswerError
from sel_edge.gateway.courier import Courier
from sel_edge.gateway.shelf import Shelf
from sel_edge.link.client import Client
from sel_edge.link.keys import open_host_key
from sel_edge.link.messages.hello import Hello
from sel_edge.link.messages.sample import Sample
from sel_edge.link.messages.status import Fault
from sel_edge.mcu.keys import device_key
from sel_edge.mcu.running import Running, running
from tests.cli.boards import NAME, NOWHERE, Call, key
from tests.gateway.worlds import make_bundle, tilted
from tests.link.boards import Board, talking
from tests.link.peer import STATUS
from tools.small_network import changed

FRAMES, _ = tilted(6, seed=5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("device"))


@pytest.fixture
def board(tmp_path: Path, bundle: Bundle) -> Iterator[Board]:
    """A board that was deployed."""
    with Board(tmp_path / "flash") as board:
        options = ["--bundle", bundle.path, *key(tmp_path), "--provision"]
        assert run([str(word) for word in ["deploy", board.port, *options]]) == 0
        yield board


def send(board: Board, bundle: Bundle, folder: Path, *networks: Running) -> list[str]:
    """Have the board run networks one after the other; returns their hashes."""
    image = bundle.mcu_image()
    with talking(board.port) as client:
        secret = device_key(open_host_key(folder / "host.key"), client.hello().device_id)
        courier = Courier(client, secret, image, Shelf(folder / "sent", image))
        sent = [courier.deliver(network) for network in networks]
    return [delivery.network for delivery in sent if delivery is not None]


def two(bundle: Bundle) -> tuple[Running, Running]:
    first = changed(running(bundle.mcu_image()), 1, layers=(0,))
    return first, changed(first, 2, layers=(0,))


class TestStatus:
    def test_a_board_without_an_image(self, call: Call, tmp_path: Path) -> None:
        with Board(tmp_path / "flash") as board:
            done = call("device", "status", board.port)
            assert done.code == 0
            assert f"Board {NAME}, firmware 0.1, up " in done.out
            assert "fault     it has no model image" in done.out
            assert "network" not in done.out

    def test_a_board_as_it_was_installed_and_as_it_was_changed(
        self, call: Call, board: Board, bundle: Bundle, tmp_path: Path
    ) -> None:
        image = bundle.mcu_image().hash[:12]
        done = call("device", "status", board.port)
        assert f"image {image}, 4 classes, as it was installed" in done.out
        (network,) = send(board, bundle, tmp_path, two(bundle)[0])
        done = call("device", "status", board.port, "--log")
        assert f"image {image}, 4 classes, changed, network {network[:12]} (delta 1)" in done.out
        assert "key stored" in done.out

    def test_everything_as_json(self, call: Call, board: Board, bundle: Bundle) -> None:
        done = call("device", "status", board.port, "--json", "--log")
        found = json.loads(done.out)
        assert found["device_id"] == NAME and found["image"] == bundle.mcu_image().hash
        assert found["faults"] == 0 and "key stored" in found["log"]
        assert "log" not in json.loads(call("device", "status", board.port, "--json").out)

    def test_every_fault_has_words(self) -> None:
        hello = Hello(1, b"board  1", 0, 1, 1040, 4, 4096, 15)
        for fault in Fault:
            lines = device._in_words(hello, replace(STATUS, faults=fault, frames_dropped=3))
            assert lines[-1] == "  link      3 frames were damaged on the line"
            assert lines[-2].startswith("  fault     ")

    def test_what_a_board_writes_into_its_log_is_no_command_to_a_terminal(
        self, call: Call, board: Board, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Client, "log", lambda _: "one \x1b[2J\ntwo")
        done = call("device", "status", board.port, "--log")
        assert "\x1b" not in done.out and done.out.splitlines()[-1] == "  two"

    def test_a_silent_port_ends_in_words(self, call: Call) -> None:
        done = call("device", "status", NOWHERE)
        assert done.code == 11
        done.says("(link)", NOWHERE, "plugged in")


class TestRollback:
    def test_one_step_and_to_the_image(
        self, call: Call, board: Board, bundle: Bundle, tmp_path: Path
    ) -> None:
        first, _ = send(board, bundle, tmp_path, *two(bundle))
        image = bundle.mcu_image().hash
        done = call("device", "rollback", board.port, *key(tmp_path))
        assert done.code == 0
        assert done.out == f"The board {NAME} runs the network {first[:12]} again.\n"
        done = call("device", "rollback", board.port, "--to", "image", *key(tmp_path), "--json")
        assert json.loads(done.out) == {"device": NAME, "network": image, "image": image}

    def test_the_last_step_leads_to_the_image(
        self, call: Call, board: Board, bundle: Bundle, tmp_path: Path
    ) -> None:
        send(board, bundle, tmp_path, two(bundle)[0])
        done = call("device", "rollback", board.port, *key(tmp_path))
        image = bundle.mcu_image().hash[:12]
        assert f"runs the network of its model image {image} again" in done.out

    @pytest.mark.parametrize("to", ["previous", "image"])
    def test_there_may_be_nothing_to_undo(
        self, call: Call, board: Board, tmp_path: Path, to: str
    ) -> None:
        done = call("device", "rollback", board.port, "--to", to, *key(tmp_path))
        assert done.code == 11
        done.says("(link)", "no network before", "nothing to undo")

    def test_where_only_the_image_is_left_the_words_say_so(
        self, call: Call, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        status = replace(STATUS, network=b"n" * 32, image=b"i" * 32)
        monkeypatch.setattr(Client, "status", lambda _: status)
        done = call("device", "rollback", board.port, *key(tmp_path))
        assert done.code == 11
        done.says("no network before", "--to image")

    def test_another_key_undoes_nothing(
        self, call: Call, board: Board, bundle: Bundle, tmp_path: Path
    ) -> None:
        (network,) = send(board, bundle, tmp_path, two(bundle)[0])
        done = call("device", "rollback", board.port, "--key", tmp_path / "other.key")
        assert done.code == 11
        done.says("wrong MAC", "the key file of the host that set up the board")
        with talking(board.port) as client:
            assert client.status().network.hex() == network


class TestSamples:
    @pytest.fixture
    def watching(self, board: Board) -> Board:
        """A board with six samples."""
        with talking(board.port) as client:
            client.set_sampling(0, per_minute=600)
            for frame in FRAMES:
                client.infer(frame.tobytes(), observe=True)
        return board

    def test_they_are_stored_and_the_board_forgets_them(
        self, call: Call, watching: Board, tmp_path: Path
    ) -> None:
        done = call("device", "samples", watching.port, "--out", tmp_path / "out")
        assert done.code == 0 and f"Took 6 samples to {tmp_path / 'out'}." in done.out
        told = json.loads((tmp_path / "out" / "samples.json").read_text())
        stored = [np.load(tmp_path / "out" / f"{one['sample']}.npy") for one in told]
        assert [one.tobytes() for one in stored] == [frame.tobytes() for frame in FRAMES]
        again = call("device", "samples", watching.port, "--out", tmp_path / "again")
        assert again.code == 0 and again.out == "No samples wait.\n"
        assert not (tmp_path / "again").exists()

    def test_as_json(self, call: Call, watching: Board, tmp_path: Path) -> None:
        done = call("device", "samples", watching.port, "--out", tmp_path / "out", "--json")
        assert json.loads(done.out) == json.loads((tmp_path / "out" / "samples.json").read_text())
        assert len(json.loads(done.out)) == 6

    def test_a_place_that_is_taken_costs_no_sample(
        self, call: Call, watching: Board, tmp_path: Path
    ) -> None:
        (tmp_path / "out").write_text("here")
        done = call("device", "samples", watching.port, "--out", tmp_path / "out")
        assert done.code == 5
        done.says("(run directory)", "not an empty directory")
        with talking(watching.port) as client:
            assert client.status().samples_waiting == 6

    def test_what_has_come_is_kept_if_the_board_goes_away(
        self, call: Call, watching: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The board has forgotten it."""
        whole = Client.samples

        def part(client: Client, most: int | None = None) -> Iterator[Sample]:
            yield from whole(client, 2)
            raise NoAnswerError("The board has not answered.", "", "Plug it in.")

        monkeypatch.setattr(Client, "samples", part)
        done = call("device", "samples", watching.port, "--out", tmp_path / "out")
        assert done.code == 11
        done.says("has not answered")
        assert len(json.loads((tmp_path / "out" / "samples.json").read_text())) == 2
        assert len(list((tmp_path / "out").glob("*.npy"))) == 2

    def test_a_board_that_sees_faster_than_it_is_asked_comes_to_an_end(
        self, call: Call, watching: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = Client.samples

        def endless(client: Client, most: int | None = None) -> Iterator[Sample]:
            for sample in whole(client, most):
                client.infer(FRAMES[0].tobytes(), observe=True)
                yield sample

        monkeypatch.setattr(Client, "samples", endless)
        done = call("device", "samples", watching.port, "--out", tmp_path / "out")
        assert done.code == 0 and "Took 6 samples" in done.out
