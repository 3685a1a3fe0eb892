"""Steps of a gateway: what it takes from a board, and when it sends something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN, Domain
from sel_edge.core.errors import ConfigError, NoAnswerError, WrongDeviceError
from sel_edge.gateway.gateway import MIN_FRAMES, RECENT_FRAMES, TICK_FRAMES, Sampling, Step
from sel_edge.gateway.target import board_network
from sel_edge.link.messages.sample import Form, Sample
from sel_edge.mcu.keys import device_key
from sel_edge.runtime.head import Head
from sel_edge.runtime.network import Network
from tests.gateway.scripted import Scene, scene
from tests.gateway.worlds import HOST_KEY, runs, set_up, tilted
from tests.link.boards import Board
from tools.small_network import small_image

HEAD = "fc.weight"
FRAMES, _ = tilted(64, seed=5)


def learned(network: Network, seed: int = 0) -> Network:
    """With another row of the classifier."""
    row = np.random.default_rng(seed).normal(size=(1, network.head.weight.shape[1]))
    return network.with_rows({HEAD: (np.array([0]), row.astype(np.float32))})


def with_domains(network: Network, *numbers: int) -> Network:
    """With domains that have a row of their own each."""
    found = {}
    for number in numbers:
        row = learned(network, number).head.weight[[0]]
        found[number] = Domain(np.zeros(2, np.float32), 32, rows={HEAD: (np.array([0]), row)})
    return network.with_domains(found)


@pytest.fixture
def here(board: Board, bundle: Bundle, tmp_path: Path) -> Iterator[Scene]:
    """A gateway that has looked once, so that the board takes samples."""
    with scene(board.port, bundle, tmp_path / "state") as found:
        assert found.gateway.step() == Step()
        yield found


def steps(here: Scene) -> list[Step]:
    """Until nothing is left to do."""
    found = []
    while (step := here.gateway.step()) != Step():
        found.append(step)
    return found


def test_every_sample_is_seen_once_and_in_order(here: Scene) -> None:
    here.show(FRAMES[:40])
    found = steps(here)
    assert [step.samples for step in found] == [TICK_FRAMES, TICK_FRAMES, 40 - 2 * TICK_FRAMES]
    assert here.runtime.seen == [frame.tobytes() for frame in FRAMES[:40]]
    assert here.client.status().samples_waiting == 0


def test_a_board_samples_as_it_is_told(board: Board, bundle: Bundle, tmp_path: Path) -> None:
    with scene(board.port, bundle, tmp_path, Sampling(0, per_minute=3)) as here:
        here.gateway.step()
        here.show(FRAMES[:10])
        assert [step.samples for step in steps(here)] == [3]
        assert here.client.status().time_ms > 1_700_000_000_000
    with scene(board.port, bundle, tmp_path, Sampling(65535, per_minute=600)) as here:
        here.gateway.step()
        here.show(FRAMES[:10])
        assert steps(here) == []


def test_a_board_that_was_restarted_is_told_again(here: Scene, board: Board) -> None:
    board.cut_power()
    assert here.gateway.step() == Step()
    here.show(FRAMES[:3])
    assert [step.samples for step in steps(here)] == [3]


def test_what_was_learned_is_sent_once(here: Scene, bundle: Bundle) -> None:
    here.runtime.network = learned(here.runtime.network)
    here.show(FRAMES[:MIN_FRAMES])
    first, second = steps(here)
    assert first == Step(samples=MIN_FRAMES)
    assert second.delivery is not None and second.note == ""
    assert here.client.status().network.hex() == second.delivery.network
    target = board_network(bundle.mcu_image(), here.runtime.network)
    assert runs(here.client, target, list(FRAMES[:4]))
    here.show(FRAMES[:MIN_FRAMES])
    assert [step.delivery for step in steps(here)] == [None]


def test_nothing_is_sent_before_it_is_known_where_the_board_is(here: Scene) -> None:
    here.runtime.network = learned(here.runtime.network)
    here.show(FRAMES[: MIN_FRAMES - 1])
    assert [step.delivery for step in steps(here)] == [None]
    here.show(FRAMES[:1])
    assert [step.delivery is None for step in steps(here)] == [True, False]


def test_a_network_that_is_back_where_it_was_is_undone_on_the_board(here: Scene) -> None:
    own = here.runtime.network
    here.show(FRAMES[:MIN_FRAMES])
    here.runtime.network = learned(own)
    assert steps(here)[-1].delivery is not None
    here.runtime.network = own
    (step,) = steps(here)
    assert step.delivery is not None and step.delivery.payload_bytes == 0
    assert here.client.status().network == here.client.status().image


def test_the_board_gets_the_network_of_the_domain_that_it_is_in(
    here: Scene, bundle: Bundle
) -> None:
    image = bundle.mcu_image()
    here.runtime.network = with_domains(here.runtime.network, 1, 2)
    for domain in (1, 2, OWN):
        here.runtime.domain = domain
        here.show(FRAMES[:RECENT_FRAMES])
        assert sum(step.delivery is not None for step in steps(here)) == 1
        target = board_network(image, here.runtime.network, domain)
        assert runs(here.client, target, list(FRAMES[:4]))


def test_a_few_frames_of_another_domain_change_nothing(here: Scene) -> None:
    here.runtime.network = with_domains(here.runtime.network, 1, 2)
    here.runtime.domain = 1
    here.show(FRAMES[:RECENT_FRAMES])
    steps(here)
    here.runtime.domain = 2
    here.show(FRAMES[: RECENT_FRAMES // 2])
    assert all(step.delivery is None for step in steps(here))


def test_without_the_domain_that_it_is_in_a_board_gets_the_bundles_own(
    here: Scene, bundle: Bundle
) -> None:
    own = here.runtime.network
    here.runtime.network, here.runtime.domain = with_domains(own, 1), 1
    here.show(FRAMES[:RECENT_FRAMES])
    steps(here)
    here.runtime.network = own
    steps(here)
    assert here.client.status().network == here.client.status().image


def test_a_network_that_integers_do_not_do_justice_is_not_sent(here: Scene) -> None:
    here.runtime.network, here.runtime.is_wrong = learned(here.runtime.network), True
    here.show(FRAMES[:MIN_FRAMES])
    _, step = steps(here)
    assert step.delivery is None and "same answer to 0% of the newest samples" in step.note
    assert here.client.status().network == here.client.status().image
    here.show(FRAMES[:MIN_FRAMES])
    assert [step.note for step in steps(here)] == [""]  # it is said once
    here.runtime.network, here.runtime.is_wrong = learned(here.runtime.network, 1), False
    assert steps(here)[-1].delivery is not None


def test_the_image_itself_is_never_refused(here: Scene) -> None:
    """However badly integers do on these frames: the board runs it already."""
    here.runtime.is_wrong = True
    here.show(FRAMES[:MIN_FRAMES])
    assert [step.note for step in steps(here)] == [""]


def test_more_classes_than_there_is_room_for_are_said_and_the_rest_goes_on(
    here: Scene, bundle: Bundle
) -> None:
    own, room = here.runtime.network, bundle.mcu_image().most_classes
    count = room + 1 - len(own.classes)
    head = own.head
    weight = np.concatenate([head.weight, np.zeros((count, head.weight.shape[1]), np.float32)])
    bias = np.concatenate([head.bias, np.zeros(count, np.float32)])
    names = (*head.classes, *(f"new {number}" for number in range(count)))
    here.runtime.network = own.with_head(Head(weight, bias, names))
    here.show(FRAMES[:MIN_FRAMES])
    _, step = steps(here)
    assert step.delivery is None and "--class-room" in step.note
    here.show(FRAMES[:3])
    assert [step.samples for step in steps(here)] == [3]


def test_a_key_that_is_not_the_boards_is_said_and_samples_go_on_coming(
    bundle: Bundle, tmp_path: Path
) -> None:
    with Board(tmp_path / "flash") as board:
        set_up(board.port, bundle, host_key=bytes(32))
        with scene(board.port, bundle, tmp_path) as here:
            here.gateway.step()
            here.runtime.network = learned(here.runtime.network)
            here.show(FRAMES[:MIN_FRAMES])
            _, step = steps(here)
            assert step.delivery is None and "wrong MAC" in step.note
            here.show(FRAMES[:3])
            assert [step.samples for step in steps(here)] == [3]


def test_a_board_that_is_gone_in_the_middle_costs_no_sample_that_has_come(
    here: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def three(most: int) -> Iterator[Sample]:
        for number in range(3):
            yield Sample(number + 1, 0, 0, 0, 0, Form.FRAME, 0, FRAMES[number].tobytes())
        raise NoAnswerError("gone", "", "")

    def none(most: int) -> Iterator[Sample]:
        raise NoAnswerError("gone", "", "")
        yield

    monkeypatch.setattr(here.client, "samples", three)
    assert here.gateway.step() == Step(samples=3)
    assert here.runtime.seen == [frame.tobytes() for frame in FRAMES[:3]]
    monkeypatch.setattr(here.client, "samples", none)
    with pytest.raises(NoAnswerError):
        here.gateway.step()


def test_features_that_someone_else_asked_for_are_no_frames(here: Scene) -> None:
    here.client.set_sampling(0, 65535, Form.FEATURES)
    here.show(FRAMES[:2])
    here.client.set_sampling(0, 65535, Form.FRAME)
    here.show(FRAMES[2:4])
    steps(here)
    assert here.runtime.seen == [frame.tobytes() for frame in FRAMES[2:4]]


def test_another_board_on_the_same_line_is_not_served(
    here: Scene, board: Board, bundle: Bundle, tmp_path: Path
) -> None:
    board.stop()
    other = Board(tmp_path / "other flash", device_id="board no")
    other.port = board.port
    with other:
        set_up(other.port, bundle)
        with pytest.raises(WrongDeviceError, match=b"board no".hex()):
            here.gateway.step()
    board.start()


def test_a_board_whose_image_was_replaced_is_not_served(here: Scene) -> None:
    other = small_image()
    here.client.install(other.content, device_key(HOST_KEY, b"simboard"))
    with pytest.raises(ConfigError, match=other.hash[:12]):
        here.gateway.step()
