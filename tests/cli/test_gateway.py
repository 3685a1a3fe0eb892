"""`sel-edge gateway`: boards at several ports, that come and go, served by one process."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.cli.gateway import Post
from sel_edge.core.errors import LinkError
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter, read_ledger
from sel_edge.gateway.gateway import Step
from sel_edge.gateway.target import board_network
from sel_edge.runtime.network import bundle_network
from sel_edge.runtime.slots import open_slots
from tests.cli.boards import NOWHERE, Call, camera, deploy, key
from tests.gateway.settings import settings_for
from tests.gateway.worlds import make_bundle, runs, tilted
from tests.link.boards import Board, talking
from tests.simulate.gratings import make_world

IDS = ("board 01", "board 02")
NAMES = tuple(name.encode().hex() for name in IDS)
FRAMES, _ = tilted(4, seed=9)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
def boards(call: Call, bundle: Bundle, tmp_path: Path) -> Iterator[list[Board]]:
    """Two boards that see the same frames again and again."""
    frames = camera(tmp_path)
    with ExitStack() as stack:
        found = [
            stack.enter_context(Board(tmp_path / name, device_id=name, camera=frames))
            for name in IDS
        ]
        for board in found:
            deploy(call, board, bundle, tmp_path)
        yield found


@pytest.fixture
def options(bundle: Bundle, tmp_path: Path) -> list[object]:
    """All that is needed but the ports, for a second's run."""
    fast = ["--least", 0, "--per-minute", 65535, "--every", 0.02, "--timeout", 2, "--threads", 1]
    budget = ["--profile", "generic-x86", "--for", 1, "--json"]
    return ["--bundle", bundle.path, "--state", tmp_path / "state", *fast, *budget, *key(tmp_path)]


def told(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def learn(call: Call, bundle: Bundle, state: Path) -> None:
    """Keep an update there, as from labels that somebody gave."""
    source = make_world(state.parent.parent).split("+")[1]
    assert call("run", bundle.path, "--source", source, "--state", state).code == 0
    assert any(update.kept for update in read_ledger(state / LEDGER_FILE).updates)


def test_each_board_teaches_its_own_ledger_and_gets_what_it_taught(
    call: Call, bundle: Bundle, boards: list[Board], options: list[object], tmp_path: Path
) -> None:
    ports, state = [board.port for board in boards], tmp_path / "state"
    learn(call, bundle, state / NAMES[0])
    before = read_ledger(state / NAMES[0] / LEDGER_FILE).ticks
    done = call("gateway", *ports, *options, "--for", 4)
    assert done.code == 0
    lines = told(done.out)
    for name in NAMES:
        seen = sum(line.get("samples", 0) for line in lines if line["board"] == name)
        ticks = read_ledger(state / name / LEDGER_FILE).ticks
        assert seen == sum(tick.n for tick in ticks[len(before) if name == NAMES[0] else 0 :])
        assert seen > 0
    assert [line["board"] for line in lines if line.get("delivery")] == [NAMES[0]]
    with open_slots(state / NAMES[0], bundle) as slots:
        learned = slots.current()
    for board, network in zip(boards, (learned, bundle_network(bundle)), strict=True):
        with talking(board.port) as client:
            target = board_network(bundle.mcu_image(), network)
            assert runs(client, target, list(FRAMES))


def test_in_words_it_is_said_where_to_answer_and_what_happens(
    call: Call, boards: list[Board], options: list[object], tmp_path: Path
) -> None:
    options.remove("--json")
    done = call("gateway", boards[0].port, *options)
    assert done.code == 0 and done.out == ""
    folder = tmp_path / "state" / NAMES[0]
    assert f"{NAMES[0]}: The board is served" in done.err
    assert f"`sel-edge label {folder}`" in done.err
    assert call("label", folder).code == 0


def test_a_board_that_cannot_be_served_does_not_keep_others_waiting(
    call: Call, boards: list[Board], options: list[object], tmp_path: Path
) -> None:
    done = call("gateway", NOWHERE, boards[0].port, *options, "--for", 3)
    assert done.code == 11
    lines = told(done.out)
    assert any(NOWHERE in line.get("error", "") for line in lines)
    assert any(line["board"] == NAMES[0] and line.get("samples") for line in lines)


def test_a_board_with_another_image_is_named_and_left_alone(
    call: Call, bundle: Bundle, boards: list[Board], options: list[object], tmp_path: Path
) -> None:
    other = make_bundle(tmp_path, "--class-room", 5)
    deploy(call, boards[1], other, tmp_path)
    done = call("gateway", boards[1].port, boards[0].port, *options, "--for", 3)
    assert done.code == 6
    errors = [line for line in told(done.out) if "error" in line]
    assert {line["board"] for line in errors} == {NAMES[1]}
    assert bundle.mcu_image().hash[:12] in errors[0]["error"]
    assert not (tmp_path / "state" / NAMES[1]).exists()
    assert read_ledger(tmp_path / "state" / NAMES[0] / LEDGER_FILE).ticks


def served(post: Post) -> Step:
    """The next look at the board at which something happens."""
    while (step := post.serve()) in (None, Step()):
        time.sleep(0.02)
    assert step is not None
    return step


def test_a_board_that_goes_away_and_comes_back_is_served_again(
    bundle: Bundle, boards: list[Board], tmp_path: Path
) -> None:
    board = boards[0]
    settings = settings_for(bundle, tmp_path, timeout_s=2.0)
    post = Post(board.port, settings)
    with closing(post):
        assert served(post).samples > 0 and post.trouble is None
        board.stop()
        with pytest.raises(LinkError) as found:
            served(post)
        assert post.trouble is found.value
        assert post.serve() is None  # it is left alone for a while
        board.start()
        assert served(post).samples > 0 and post.trouble is None
    ledger = read_ledger(tmp_path / "state" / NAMES[0] / LEDGER_FILE)
    assert len(ledger.sessions) == 2
    assert [tick.start for tick in ledger.ticks] == sorted({tick.start for tick in ledger.ticks})


def test_a_state_directory_in_use_is_said_and_tried_again(
    call: Call, boards: list[Board], options: list[object], tmp_path: Path
) -> None:
    path = tmp_path / "state" / NAMES[0] / LEDGER_FILE
    with LedgerWriter(path):
        done = call("gateway", boards[0].port, *options)
    assert done.code == 5
    assert any("in use by another process" in line.get("error", "") for line in told(done.out))
    assert call("gateway", boards[0].port, *options).code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_it_is_told_to(
    call: Call, boards: list[Board], options: list[object], number: signal.Signals
) -> None:
    """However seldom it looks."""
    moment = threading.Timer(1.5, os.kill, (os.getpid(), number))
    moment.start()
    seldom = ["--every", 3600, "--for", 3600, "--least", 255]
    done = call("gateway", boards[0].port, *options, *seldom)
    moment.join()
    assert done.code == 0 and "Stopping" in done.err


def test_what_can_only_fail_is_said_before_a_port_is_opened(
    call: Call, bundle: Bundle, workshop: Path, options: list[object], tmp_path: Path
) -> None:
    done = call("gateway", NOWHERE, *options, "--bundle", workshop / "bundle")
    assert done.code == 4
    done.says("no model image", "--target mcu")
    done = call("gateway", NOWHERE, *options, "--state", bundle.path / "state")
    assert done.code == 6
    done.says("lies inside the bundle")
    done = call("gateway", NOWHERE, *options, "--rungs", "magic")
    assert done.code == 6
    done.says("no rung 'magic'")
    done = call("gateway", NOWHERE, *options, "--budget", tmp_path / "none.toml")
    assert done.code == 6
    done.says("none.toml")
    (tmp_path / "host.key").write_bytes(bytes(32))
    (tmp_path / "host.key").chmod(0o644)
    done = call("gateway", NOWHERE, *options)
    assert done.code == 6
    done.says("chmod 600")
    assert call("gateway", *options).code == 2


def test_the_state_directories_lie_beside_the_bundle(
    call: Call, boards: list[Board], options: list[object], bundle: Bundle, tmp_path: Path
) -> None:
    at = options.index("--state")
    call("gateway", boards[0].port, *options[:at], *options[at + 2 :])
    assert (bundle.path.with_name("bundle.boards") / NAMES[0] / LEDGER_FILE).is_file()
