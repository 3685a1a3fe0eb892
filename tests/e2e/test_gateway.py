"""The closed loop: a board's samples teach a host, whose network the board then runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.cli.gateway import Post
from sel_edge.cli.main import run
from sel_edge.core.errors import MissingDependencyError
from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from sel_edge.core.rng import generator
from sel_edge.data.corruptions import corrupt
from sel_edge.data.sources import load_splits
from sel_edge.gateway.gateway import Step
from sel_edge.link.client import Client
from sel_edge.runtime.samples import SAMPLES_FILE, LabelDesk
from tests.gateway.settings import settings_for
from tests.link.boards import Board, talking
from tests.real_data import cifar10_archive
from tests.tools_needed import missing_tool
from tools.adapt_bench.subject import NETWORKS
from tools.mcu_bench.emulator import EmulatedBoard, check_tools, make_flash

FRAMES = 480
EXAM = 200
"""Frames that are asked about before and afterwards, none of which was seen in between."""
AT_ONCE = 4
"""Frames between two looks at the board, which has room for a few samples."""
ROUNDS = 200


class Emulated:
    """A board with the real firmware in an emulator, used as `Board` is.

    Args:
        flash: file of its flash; made.
    """

    def __init__(self, flash: Path) -> None:
        try:
            check_tools()
        except MissingDependencyError as error:
            missing_tool(str(error))
        make_flash(flash)
        self._board = EmulatedBoard(flash)

    @property
    def port(self) -> str:
        return self._board.url

    def __enter__(self) -> Emulated:
        self._board.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._board.__exit__(*error)

    def cut_power(self) -> None:
        self._board.kill()
        self._board.start()


@pytest.fixture(scope="module")
def archive() -> Path:
    return cifar10_archive()


@pytest.fixture(scope="module")
def bundle(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Ten classes of CIFAR-10 at width 8, for a microcontroller."""
    out = tmp_path_factory.mktemp("gateway") / "bundle"
    arguments = ["--data", f"cifar10:{archive}", "--target", "mcu", "--profile", "esp32-c3"]
    assert run(["export", str(NETWORKS / "ten-w8"), "--out", str(out), *arguments]) == 0
    return open_bundle(out)


class World:
    """Frames that have lost their contrast, and a board that sees them."""

    def __init__(self, archive: Path) -> None:
        test = load_splits(f"cifar10:{archive}").test
        chosen = generator(1).permutation(len(test.frames))[: FRAMES + EXAM]
        frames = corrupt(test.frames[chosen], "contrast", 5, generator(0))
        self.names = [test.classes[label] for label in test.labels[chosen]]
        self.seen, self.exam = frames[:FRAMES], frames[FRAMES:]

    def score(self, client: Client, classes: tuple[str, ...]) -> float:
        """Share of right answers that the board itself gives in the exam."""
        answers = [classes[client.infer(frame.tobytes()).label] for frame in self.exam]
        return float(np.mean([a == b for a, b in zip(answers, self.names[FRAMES:], strict=True)]))


def show(post: Post, frame: NDArray[np.uint8]) -> None:
    """Let the board see a frame, over the line that the gateway has."""
    assert post._gateway is not None
    post._gateway._client.infer(frame.tobytes(), observe=True)


def served(post: Post) -> list[Step]:
    """What happens until nothing is left to do."""
    steps: list[Step] = []
    for _ in range(ROUNDS):
        step = post.serve()
        assert step is not None
        steps.append(step)
        if step == Step():
            return steps
    raise AssertionError("the gateway comes to no end")


@pytest.mark.proof
@pytest.mark.parametrize("kind", [Board, Emulated])
def test_a_board_learns_from_its_gateway(
    kind: type[Board | Emulated], bundle: Bundle, archive: Path, tmp_path: Path
) -> None:
    world, settings = World(archive), settings_for(bundle, tmp_path, timeout_s=20.0)
    key = ["--key", str(settings.key_file)]
    with kind(tmp_path / "flash") as board:
        port = board.port
        assert run(["deploy", port, "--bundle", str(bundle.path), "--provision", *key]) == 0
        with talking(port) as client:
            name = client.hello().device_id.hex()
            before = world.score(client, bundle.manifest.classes)
        state = settings.state / name
        post = Post(port, settings)
        assert post.serve() == Step()  # it has told the board to take samples
        deliveries = []
        for number, frame in enumerate(world.seen):
            show(post, frame)
            if number % AT_ONCE == AT_ONCE - 1:
                steps = served(post)
                deliveries += [step.delivery for step in steps if step.delivery is not None]
            if number % 48 == 47:
                with LabelDesk(state / SAMPLES_FILE) as desk:
                    for each in desk.queue(12):
                        desk.answer(each.id, world.names[each.number])
        post.close()
        assert deliveries and sum(u.kept for u in read_ledger(state / LEDGER_FILE).updates)
        board.cut_power()
        port = board.port
        with talking(port) as client:
            status = client.status()
            assert status.network.hex() == deliveries[-1].network
            after = world.score(client, bundle.manifest.classes)
        assert after >= before + 0.1
        assert run(["device", "status", port]) == 0
        assert run(["device", "rollback", port, *key]) == 0
        assert run(["device", "rollback", port, "--to", "image", *key]) in (0, 11)
        with talking(port) as client:
            assert client.status().network == client.status().image
            assert world.score(client, bundle.manifest.classes) == before
